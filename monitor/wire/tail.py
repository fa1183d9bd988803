"""Follows a file that an untrusted process is writing: a regular file only, no links followed, bounded."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PIECE = 1 << 20


class Tail:
    """``read`` returns what is new; ``problem`` says why the rest of the file is not read, or is empty.

    The file is opened when it first appears and held: what is put in its place later is never looked at.
    """

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self._path = path
        self._left = limit_bytes
        self._limit = limit_bytes
        self._descriptor = -1
        self.problem = ""

    def read(self) -> bytes:
        """Return up to a megabyte of what has been written since the last call, or nothing."""
        if self.problem or (self._descriptor < 0 and not self._open()):
            return b""
        data = os.read(self._descriptor, min(_PIECE, self._left + 1))
        if len(data) > self._left:
            self.problem = f"the events file is larger than {self._limit} bytes"
            data = data[: self._left]
        self._left -= len(data)
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> bool:
        try:
            # O_NONBLOCK: a named pipe left in the file's place must not hold the daemon
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            link = error.errno == errno.ELOOP
            self.problem = "the events file is a link" if link else f"the events file cannot be read: {error.strerror}"
            return False
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self.problem = "the events file is not a regular file"
            return False
        self._descriptor = descriptor
        return True
