"""Keeps the descriptions of miniatures that were derived since, each under the digest of the files it makes."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.miniatures.manifest import read_miniature, write_folder
from monitor.miniatures.writer import ITEM_BYTES, digest_of

if TYPE_CHECKING:
    from monitor.miniatures.manifest import Miniature

MAX_BYTES = 256 << 20  # the largest of the project's own has 83 MB


def misfit(miniature: Miniature) -> str:
    """Return why a checkpoint of this description could not be written, "" where it can."""
    unknown = sorted({tensor.dtype for tensor in miniature.tensors} - ITEM_BYTES.keys())
    if unknown:
        return f"it has tensors of a kind that is not written yet: {', '.join(unknown)[:100]}"
    size = sum(math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype] for tensor in miniature.tensors)
    return f"it would have {size >> 20} MiB: our shrinking does not fit" if size > MAX_BYTES else ""


def shelve(miniature: Miniature, shelf: Path) -> str:
    """Keep a description, whole or not at all; return the digest it is kept under."""
    shelf.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=shelf))
    try:
        write_folder(miniature, aside, template="")
        digest = digest_of(read_miniature(aside))  # numbers are rounded as they are written: what is read counts
        if not (shelf / digest).is_dir():
            aside.rename(shelf / digest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return digest
