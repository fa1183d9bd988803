"""Errors that Settle reports as a sentence: what happened and why, a hint what to do, and an exit code.

::

    SettleError
    ├── UsageError            2   a problem with the command line or a value on it
    │   ├── UnknownName           a model, runtime, version, cell or run that does not exist
    │   ├── NotReleased           a day before the runtime's first release
    │   └── NotACheckpoint        a folder without a checkpoint
    ├── ConfigError           3   problems in the configuration file, all in one message
    ├── DatabaseError         4   an unreadable, foreign, newer or locked database
    └── InfraError            5   the engine, disk, network or memory of this machine, never the runtime under test
        ├── NotMeasured           an infra fault left no verdict; the run is recorded as unknown
        ├── NoAnswer              a server that cannot be reached, or fails
        ├── AskAgain              a server that limits the rate of requests until a given time
        └── DiskFull              no space left
"""

from __future__ import annotations

import difflib
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class SettleError(Exception):
    """A sentence that says what happened and why; ``hint`` says what to do, on a line of its own."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(SettleError):
    exit_code = 2


class UnknownName(UsageError):
    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        super().__init__(f"no {kind} is called {name!r}", hint=" ".join(filter(None, [near_match(name, known), hint])))


class NotReleased(UsageError):
    pass


class NotACheckpoint(UsageError):
    pass


class ConfigError(SettleError):
    exit_code = 3


class DatabaseError(SettleError):
    exit_code = 4


class InfraError(SettleError):
    exit_code = 5


class NotMeasured(InfraError):
    pass


class NoAnswer(InfraError):
    pass


class AskAgain(InfraError):
    """The server accepts the next request at the time ``at``."""

    def __init__(self, message: str, *, at: datetime, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.at = at


class DiskFull(InfraError):
    pass


_SQLITE_FULL = 13  # sqlite3.SQLITE_FULL, without the module: not every command needs it


def disk_full(error: BaseException) -> DiskFull | None:
    """Return the error to report where a file or a database finds no space, None for any other error."""
    no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not no_space and getattr(error, "sqlite_errorcode", None) != _SQLITE_FULL:
        return None
    return DiskFull(
        f"the disk is full: {error}",
        hint="free some space, or run `settle disk-budget`; everything recorded so far is kept",
    )


def near_match(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known name, or an empty string."""
    lowered = {str(candidate).lower(): str(candidate) for candidate in known}  # StrEnum members as plain text
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[close[0]]!r}?" if close else ""
