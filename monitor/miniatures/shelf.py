"""Stores the descriptions of derived miniatures on a shelf: a folder, by the digest of the files that they make."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.miniatures.manifest import read_miniature, write_folder
from monitor.miniatures.writer import ITEM_BYTES, digest_of

if TYPE_CHECKING:
    from monitor.miniatures.manifest import Miniature

MAX_BYTES = 256 << 20  # the largest of the project has 83 MB


def misfit(miniature: Miniature) -> str:
    """Return why a checkpoint of this description could not be written, "" where it can."""
    unknown = sorted({tensor.dtype for tensor in miniature.tensors} - ITEM_BYTES.keys())
    if unknown:
        return f"its tensors have types that cannot be written: {', '.join(unknown)[:100]}"
    size = sum(math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype] for tensor in miniature.tensors)
    return f"it would have {size >> 20} MiB: shrinking failed" if size > MAX_BYTES else ""


def describe(miniature: Miniature) -> tuple[bytes, str]:
    """Return a miniature's description as it is stored, and the digest of the files that it makes."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(miniature, Path(folder), template="")
        files = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}
        # writing rounds numbers: the digest is that of what is read
        return json.dumps(files).encode(), digest_of(read_miniature(Path(folder)))


def shelve(description: bytes, shelf: Path) -> None:
    """Store a description by the digest of its files, completely or not at all."""
    shelf.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=shelf))
    try:
        for name, text in json.loads(description).items():
            (aside / Path(name).name).write_text(text, encoding="utf-8")
        digest = digest_of(read_miniature(aside))
        if not (shelf / digest).is_dir():
            aside.rename(shelf / digest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
