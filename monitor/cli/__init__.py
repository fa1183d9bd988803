"""The entry point of `settle`: errors and signals become a message and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from monitor.cli.root import settle
from monitor.errors import SettleError, disk_full
from monitor.text import printable

if TYPE_CHECKING:
    from types import FrameType

_COLLECTION_THRESHOLD = 50_000  # a command keeps most of what it imports and reads until it ends
_REPEATED_SIGNAL_S = 1.0  # a terminal and a wrapper may both pass on the same Ctrl-C
_SIGNAL_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

__all__ = ["Stopped", "main", "settle", "stop_on_signals"]


class Stopped(BaseException):
    """A signal asked this process to end; a BaseException, so that no handler for errors catches it."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number  # as a shell reports a signal's death
        super().__init__(f"stopped by {_SIGNAL_NAMES[signal.Signals(number)]}")


def stop_on_signals() -> None:
    """Raise Stopped at the first signal; a second, deliberate one ends the process without cleaning up."""
    stopped_at: list[float] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not stopped_at:
            stopped_at.append(now)
            raise Stopped(number)
        if now - stopped_at[0] > _REPEATED_SIGNAL_S:
            os._exit(128 + number)

    for number in _SIGNAL_NAMES:
        signal.signal(number, stop)


def main() -> None:
    """Run the command; a failure of Settle itself ends with a message, a hint and an exit code."""
    stop_on_signals()
    gc.set_threshold(_COLLECTION_THRESHOLD)
    try:
        settle(prog_name="settle")
    except SettleError as error:
        _exit(error)
    except Stopped as stopped:
        sys.stderr.write(f"settle: {stopped}; recorded results are kept, and the same command continues from there\n")
        sys.exit(stopped.exit_code)
    except BrokenPipeError:
        # `settle history | head` is no failure; without this Python complains again while it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # a named path may be unreadable or unwritable in more ways than each command can foresee
        _exit(disk_full(error) or SettleError(str(error), hint="check the path and its permissions"))
    except Exception as error:
        full = disk_full(error)
        if full is None:
            raise
        _exit(full)


def _exit(error: SettleError) -> NoReturn:
    sys.stderr.write(f"settle: {printable(str(error))}\n")
    if error.hint:
        sys.stderr.write(f"  hint: {printable(error.hint)}\n")
    sys.exit(error.exit_code)
