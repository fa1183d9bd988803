"""The checkpoint as a GGUF: the one that lies in its folder, or the one that llama.cpp's converter of the day makes."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from probes.checkpoint import BadFileError

if TYPE_CHECKING:
    from pathlib import Path

_CONVERTER = "probes.runtimes.llamacpp"


class NoConverterError(Exception):
    """Nothing here makes a GGUF: our recipe's lack, and not Ollama's."""


def gguf_of(folder: Path, target: Path) -> Path:
    """Return the GGUF. One of the publisher's is what users of a GGUF get, so it goes before one of ours."""
    own = sorted(folder.glob("*.gguf"))
    if len(own) > 1:
        raise BadFileError(f"the folder holds {len(own)} GGUF files, and nothing says which is meant")
    if own:
        return own[0]
    if importlib.util.find_spec(_CONVERTER) is None:
        raise NoConverterError("the folder holds no GGUF, and these probes have no converter that makes one")
    importlib.import_module(_CONVERTER).convert(folder, target)
    return target
