"""One writer a home: a lock on a file that the kernel gives back however its holder ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, TextIO

from monitor.errors import DatabaseError

if TYPE_CHECKING:
    from pathlib import Path


class WriterLock:
    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def take(cls, path: Path) -> WriterLock:
        """Take the lock at ``path`` or raise DatabaseError that names the process holding it."""
        try:
            file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise DatabaseError(f"{path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            file.close()
            raise DatabaseError(
                f"{path.parent} is in use by another settle (process {holder})",
                hint="wait until it ends, stop it, or name another home with SETTLE_HOME",
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        return cls(file)

    def release(self) -> None:
        # the file stays: removing it would let two processes each lock their own
        self._file.truncate(0)
        self._file.close()
