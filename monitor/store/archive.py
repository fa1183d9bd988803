"""Keeps bytes as compressed files named by the hash of their content."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEVEL = 6


@dataclass(frozen=True, slots=True)
class FileArchive:
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
        aside = self._aside / path.name
        self._aside.mkdir(exist_ok=True)
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
            raise DatabaseError(f"{path} is damaged: its contents differ from their hash")
        return data

    def sweep(self) -> None:
        """Remove what a killed writer left half-written; only the single writer may call this."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._files())

    def collect(self, budget_bytes: int) -> int:
        """Remove the oldest files until the rest fits the budget; return how many bytes that freed."""
        kept = freed = 0
        files = [(path.stat(), path) for path in self._files()]
        for stat, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
            kept += stat.st_size
            if kept > budget_bytes:
                path.unlink()
                freed += stat.st_size
        return freed

    def _files(self) -> Iterator[Path]:
        return self.root.glob("??/*.gz")

    @property
    def _aside(self) -> Path:
        return self.root / ".writing"

    def path(self, digest: str) -> Path:
        return self.root / digest[:2] / f"{digest}.gz"
