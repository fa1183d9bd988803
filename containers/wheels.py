"""Wheels that were built from source: each kept under its sha256, for a second build would be another wheel."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def kept_wheel(note: Path) -> Path | None:
    """Return the wheel that a note beside the wheels tells of, if it is still there; it counts as used now."""
    wheel = _told(note)
    if wheel is not None:
        _touch(wheel.parent)
    return wheel


def note_wheel(note: Path, wheel: Path) -> None:
    note.write_text(json.dumps({"wheel": str(wheel.relative_to(note.parent))}), encoding="utf-8")


def wheels_named(wheels: Path, digests: Collection[str]) -> list[Path]:
    """Return the folders of the wheels of these hashes; they count as used now."""
    found = [folder for folder in wheels.iterdir() if folder.name in digests]
    for folder in found:
        _touch(folder)
    return found


def remove_wheel(wheels: Path, digest: str) -> None:
    """Remove a wheel and what tells of it; a note that a crash leaves behind tells of nothing, and is no harm."""
    shutil.rmtree(wheels / digest, ignore_errors=True)
    for note in wheels.glob("*.json"):
        if _told(note) is None:
            note.unlink(missing_ok=True)


def _told(note: Path) -> Path | None:
    try:
        wheel = note.parent / str(json.loads(note.read_text(encoding="utf-8"))["wheel"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return wheel if wheel.is_file() else None


def _touch(folder: Path) -> None:
    with contextlib.suppress(OSError):  # read-only: it only matters for cleaning up
        os.utime(folder)
