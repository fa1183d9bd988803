"""Files below the root of installations, besides the environments: built wheels, archives, tools, and their sizes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, mkstemp
from typing import TYPE_CHECKING

from containers.errors import NoRoom
from containers.leftovers import remove

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

TOOLS = "tools"
_FICLONE = 0x40049409  # of linux/fs.h


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An environment, a built wheel or an unpacked archive, in a folder named by its digest."""

    digest: str
    bytes: int  # freed by its removal
    last_used: float  # seconds since the epoch
    name: str = ""  # of its first file
    needed_by: frozenset[str] = frozenset()  # digests of the environments whose lock names it


def stored_items(root: Path, locks: Mapping[str, str]) -> tuple[StoredItem, ...]:
    """Return the wheels or archives below ``root``, longest unused first; ``locks`` are those of the environments."""
    items = [
        StoredItem(
            digest=folder.name,
            name=next((file.name for file in sorted(folder.iterdir())), "something unfinished"),
            bytes=disk_bytes(folder),
            last_used=folder.stat().st_mtime,
            needed_by=frozenset(digest for digest, text in locks.items() if f"sha256:{folder.name}" in text),
        )
        for folder in (root.iterdir() if root.is_dir() else ())
        if folder.is_dir()
    ]
    return tuple(sorted(items, key=lambda item: item.last_used))


def disk_bytes(*folders: Path, unique: bool = False) -> int:
    """Sum what files take on the disk; ``unique`` leaves out those that have another name elsewhere."""
    seen: set[int] = set()  # all of it lies on one file system
    total = 0
    waiting = list(map(str, folders))
    while waiting:
        # what vanishes meanwhile, or cannot be reached by its path, does not count
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    elif status.st_ino not in seen and not (unique and status.st_nlink > 1):
                        total += status.st_blocks * 512
                        seen.add(status.st_ino)
    return total


def shares_blocks(folder: Path) -> bool:
    """Return whether the file system can copy a file by sharing its blocks until one of the two is written to."""
    with contextlib.suppress(OSError), TemporaryFile(dir=folder) as original, TemporaryFile(dir=folder) as copy:
        original.write(b"x" * 4096)
        original.flush()
        fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        return True
    return False


def touch(path: Path) -> None:
    """Note that a file or folder was used now."""
    with contextlib.suppress(OSError):  # gone or read-only: it only matters for cleaning up
        os.utime(path)


def noted_wheel(note: Path) -> Path | None:
    """Return the built wheel that a note names, if it is still there; it counts as used now.

    Each wheel lies under its sha256, for a second build of the same sources would be another wheel.
    """
    wheel = _wheel_of(note)
    if wheel is not None:
        touch(wheel.parent)
    return wheel


def note_wheel(note: Path, wheel: Path) -> None:
    note.write_text(json.dumps({"wheel": str(wheel.relative_to(note.parent))}), encoding="utf-8")


def wheel_folders(wheels: Path, digests: Collection[str]) -> list[Path]:
    """Return the folders of the built wheels with these hashes; they count as used now."""
    folders = [folder for folder in wheels.iterdir() if folder.name in digests]
    for folder in folders:
        touch(folder)
    return folders


def remove_wheel(wheels: Path, digest: str) -> None:
    """Remove a built wheel and its note; a note that a crash leaves behind names no file, and does no harm."""
    remove(wheels / digest)
    for note in wheels.glob("*.json"):
        if _wheel_of(note) is None:
            note.unlink(missing_ok=True)


def _wheel_of(note: Path) -> Path | None:
    try:
        wheel = note.parent / str(json.loads(note.read_text(encoding="utf-8"))["wheel"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return wheel if wheel.is_file() else None


def visible_copy(file: Path, root: Path) -> Path:
    """Return a copy of one of our files below the root, which has one path for us and for the engine.

    A daemon in a container has its uv and its scripts in its own image, where the host's engine does not see them.
    Raises NoRoom where it cannot be copied.
    """
    status = file.stat()
    folder = root / TOOLS
    copy = folder / f"{file.name}-{status.st_size}-{status.st_mtime_ns}"
    if not copy.exists():
        try:
            _replace_copy(file, copy)
        except OSError as error:
            raise NoRoom(
                f"{file.name} cannot be copied into {folder}: {error.strerror}", hint="free some space"
            ) from error
    return copy


def _replace_copy(file: Path, copy: Path) -> None:
    """Copy a file whole or not at all, in place of copies of its older versions."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    for older in copy.parent.glob(f"{file.name}-*"):
        older.unlink(missing_ok=True)
    descriptor, aside = mkstemp(prefix=f"{file.name}-", dir=copy.parent)
    os.close(descriptor)
    try:
        shutil.copy(file, aside)
        Path(aside).chmod(0o755)  # a container runs as another user
        Path(aside).rename(copy)
    except OSError:
        Path(aside).unlink()
        raise
