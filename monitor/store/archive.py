"""Keeps bytes as compressed files named by the hash of their content."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import DatabaseError

if TYPE_CHECKING:
    from pathlib import Path

_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Archive:
    root: Path

    def keep(self, data: bytes) -> str:
        """Return the digest under which ``data`` now lies on the disk, whole, whatever ends us; "" for nothing."""
        if not data:
            return ""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if path.exists():
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("wb") as file:
            file.write(gzip.compress(data, _LEVEL, mtime=0))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        return digest

    def read(self, digest: str) -> bytes | None:
        """Return what was kept, or None when it has been collected. Raises DatabaseError when it has been damaged."""
        path = self.path(digest)
        try:
            data = gzip.decompress(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, EOFError, zlib.error) as error:
            raise DatabaseError(f"{path} cannot be read: {error}") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise DatabaseError(f"{path} does not hold what its name says")
        return data

    def path(self, digest: str) -> Path:
        return self.root / digest[:2] / f"{digest}.gz"
