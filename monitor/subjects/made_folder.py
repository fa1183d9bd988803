"""Marks the folders that `settle miniature` writes, and reads the mark again: what is in them is ours."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.miniatures.manifest import read_miniature
from monitor.miniatures.writer import describe

if TYPE_CHECKING:
    from monitor.miniatures.manifest import Miniature

MARK = "settle_miniature.json"
_MOST_BYTES = 16 << 20
_MOST_FILES, _LARGEST_FILE_BYTES = 64, 256 << 20  # more than any miniature has: a folder beyond is not ours


def mark(folder: Path, miniature: Miniature) -> None:
    """Write the miniature's description and its files' digests into a folder that was written of it."""
    description, _ = describe(miniature)
    content = {"files": _digests(folder), "miniature": json.loads(description)}
    (folder / MARK).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def made_of(folder: Path) -> Miniature | None:
    """Return the miniature that a folder is, None where we did not write it or another changed it since."""
    content = _read(folder / MARK)
    files = content.get("miniature")
    if not isinstance(files, dict) or content.get("files", {}) != _digests(folder):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in files.items():
            Path(scratch, Path(str(name)).name).write_text(str(text), encoding="utf-8")
        try:
            return read_miniature(Path(scratch))
        except (KeyError, ValueError, TypeError, OSError):
            return None


def _digests(folder: Path) -> dict[str, str] | None:
    """Return the digest of every file but the mark, None where the folder holds what no miniature does."""
    paths = list(itertools.islice(folder.iterdir(), _MOST_FILES + 1))
    files = sorted(path for path in paths if path.name != MARK)
    if len(paths) > _MOST_FILES or any(not path.is_file() or path.is_symlink() for path in files):
        return None
    if any(path.stat().st_size > _LARGEST_FILE_BYTES for path in files):
        return None
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
