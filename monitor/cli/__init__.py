"""The command line: `settle --help` is the manual."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

from monitor.cli.root import settle
from monitor.cli.stopping import Stopped, stop_on_signals
from monitor.errors import SettleError, disk_full
from monitor.text import printable

# objects between two collections: what a command imports and reads is kept to its end anyway
_SPARING = 50_000

__all__ = ["main", "settle"]


def main() -> None:
    """Run the command; our own failures become a sentence, a hint and an exit code, never a traceback."""
    stop_on_signals()
    gc.set_threshold(_SPARING)
    try:
        settle(prog_name="settle")
    except SettleError as error:
        _tell_and_exit(error)
    except Stopped as stopped:
        sys.stderr.write(f"settle: {stopped}; what was recorded stays, and running it again goes on from there\n")
        sys.exit(stopped.exit_code)
    except BrokenPipeError:
        # `settle history | head` is no failure; without this Python complains again while it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # what a user names may be unreadable or unwritable in more ways than each command can foresee
        _tell_and_exit(disk_full(error) or SettleError(str(error), hint="check the path and its permissions"))
    except Exception as error:
        full = disk_full(error)
        if full is None:
            raise
        _tell_and_exit(full)


def _tell_and_exit(error: SettleError) -> NoReturn:
    sys.stderr.write(f"settle: {printable(str(error))}\n")
    if error.hint:
        sys.stderr.write(f"  hint: {printable(error.hint)}\n")
    sys.exit(error.exit_code)
