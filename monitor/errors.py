"""Everything that can go wrong on our side or in the user's input: what, why, what to do, and an exit code.

::

    SettleError
    ├── UsageError            2   the command line or a value given on it
    │   ├── UnknownName           a model, runtime, version, cell or run that nobody has heard of
    │   ├── NotReleased           a day before the runtime's first release
    │   └── NotACheckpoint        a folder that is no checkpoint
    ├── ConfigError           3   the configuration file, all problems at once
    ├── DatabaseError         4   unreadable, foreign, newer or busy database
    └── BenchError            5   engine, disk, network, memory: ours, never a runtime's
        ├── NotMeasured           what was asked got no verdict, because of such a fault; it is recorded as unknown
        ├── NoAnswer              a server cannot be reached, or fails
        ├── AskAgain              a server wants to be asked less often, and says from when on
        └── DiskFull
"""

from __future__ import annotations

import difflib
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class SettleError(Exception):
    """A sentence that says what and why; ``hint`` says what to do, on its own line."""

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
    """``at`` is when it may be asked again."""

    def __init__(self, message: str, *, at: datetime, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.at = at


class DiskFull(InfraError):
    pass


_SQLITE_FULL = 13  # sqlite3.SQLITE_FULL, without the module: not every command needs it


def disk_full(error: BaseException) -> DiskFull | None:
    """Return what to say of a file or a database that found no room, None of any other error."""
    no_room = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not no_room and getattr(error, "sqlite_errorcode", None) != _SQLITE_FULL:
        return None
    return DiskFull(
        f"the disk is full: {error}",
        hint="free some space, or let `settle disk-budget` do it; what was recorded before stays",
    )


def near_match(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known name, or an empty string."""
    lowered = {str(candidate).lower(): str(candidate) for candidate in known}  # a member of a StrEnum shows as itself
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[close[0]]!r}?" if close else ""
