"""Folders that untrusted programs fill: measured within bounds and removed whole, whatever lies in them; never raises.

Nothing here recurses and no path grows: a program can nest folders deeper than any stack, and paths get longer than any
system call takes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BATCH = 4096  # names read at once


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a program may leave in a folder; an empty file costs an entry, although it has no bytes."""

    bytes: int
    entries: int = 1000
    depth: int = 16


def excess(folder: Path, bounds: Bounds) -> str:
    """Return which bound the content of a folder exceeds, "" within all; what vanishes meanwhile does not count."""
    taken = entries = 0
    waiting = [(str(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth > bounds.depth:
            return f"folders more than {bounds.depth} deep"
        try:
            listing = os.scandir(place)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM}:
                return "a folder that cannot be looked into"
            if error.errno == errno.ENAMETOOLONG:
                return "longer paths than can be followed"
            continue  # gone, or no folder any more
        with listing, contextlib.suppress(OSError):  # it may vanish while it is read
            for entry in listing:
                entries += 1
                if entries > bounds.entries:
                    return f"more than {bounds.entries} files"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, depth + 1))
                taken += _size(entry)
        if taken > bounds.bytes:
            return f"more than {bounds.bytes} bytes"
    return ""


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def remove(folder: Path) -> bool:
    """Remove a folder and everything below it, following nothing; return whether it is gone.

    Every folder inside moves up until it lies directly below ``folder``, and is emptied there.
    """
    try:
        root = _opened(str(folder), None)
    except FileNotFoundError:
        return True
    except OSError:
        return _unlinked(folder)
    try:
        while _emptied(root):
            pass
    finally:
        os.close(root)
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _unlinked(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _emptied(root: int) -> bool:
    """Remove a batch of what lies in the open folder; return whether that has brought it any further."""
    any_gone = False
    for name in _names(root):
        if _gone(name, root):
            any_gone = True
            continue
        try:
            inner = _opened(name, root)
        except OSError:
            continue
        try:
            any_gone = _moved_up(inner, root) or any_gone
        finally:
            os.close(inner)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=root)
            any_gone = True
    return any_gone


def _moved_up(folder: int, root: int) -> bool:
    """Empty the open folder: files are removed, folders move into ``root``; return whether anything was done."""
    any_gone = False
    while True:
        gone = [name for name in _names(folder) if _gone(name, folder) or _moved(name, folder, root)]
        if not gone:
            return any_gone
        any_gone = True


def _moved(name: str, folder: int, root: int) -> bool:
    with contextlib.suppress(OSError):
        _open_to_us(name, folder)  # its entry for the folder above changes with the move
        os.rename(name, f".removing-{uuid.uuid4().hex}", src_dir_fd=folder, dst_dir_fd=root)
        return True
    return False


def _names(folder: int) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, _BATCH)]
    except OSError:
        return []


def _gone(name: str, folder: int) -> bool:
    """Remove anything but a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _opened(name: str, folder: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        _open_to_us(name, folder)
    return os.open(name, flags, dir_fd=folder)


def _open_to_us(name: str, folder: int | None) -> None:
    """Allow ourselves to change a folder, which a program may have closed; never the aim of a link."""
    if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
        os.chmod(name, 0o700, dir_fd=folder)
