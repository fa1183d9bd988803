"""Lays our own files where an engine finds them that has not our view of the disk: that of the host, say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import mkstemp

from containers.errors import NoRoom

FOLDER = "tools"


def shelved(file: Path, root: Path) -> Path:
    """Return a copy of a file of ours under the root, which lies under one path for us and for the engine.

    A daemon in a container has its uv and its scripts in its own image, where the host's engine sees nothing of them.
    Raises NoRoom where it cannot be copied.
    """
    facts = file.stat()
    shelf = root / FOLDER
    copy = shelf / f"{file.name}-{facts.st_size}-{facts.st_mtime_ns}"
    if not copy.exists():
        try:
            _lay(file, copy)
        except OSError as error:
            raise NoRoom(
                f"{file.name} cannot be laid into {shelf}: {error.strerror}", hint="free some space"
            ) from error
    return copy


def _lay(file: Path, copy: Path) -> None:
    """Copy it whole or not at all, and give up what an older version of it has left."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    for older in copy.parent.glob(f"{file.name}-*"):
        older.unlink(missing_ok=True)
    descriptor, aside = mkstemp(prefix=f"{file.name}-", dir=copy.parent)
    os.close(descriptor)
    try:
        shutil.copy(file, aside)
        Path(aside).chmod(0o755)  # a container's user is another one
        Path(aside).rename(copy)
    except OSError:
        Path(aside).unlink()
        raise
