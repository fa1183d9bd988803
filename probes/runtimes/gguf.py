"""The checkpoint as a GGUF: the one that lies in its folder, or the one that llama.cpp's converter of the day makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.checkpoint import BadFileError
from probes.runtimes.converter import Converter

if TYPE_CHECKING:
    from pathlib import Path


class NoConverterError(Exception):
    """Nothing here makes a GGUF: our recipe's lack, and not Ollama's."""


class ConversionError(Exception):
    """The converter makes no GGUF of this checkpoint."""


class Maker:
    """Makes a GGUF of a checkpoint; what it needs for that is imported once, before the first fork."""

    def __init__(self) -> None:
        self._converter: Converter | None = None
        self._why = "no converter has been loaded"

    def load(self) -> dict[str, str]:
        """Import the converter where the environment has one; return the versions of what it stands on."""
        converter = Converter()
        try:
            versions = converter.load()
        except (ImportError, RuntimeError) as error:
            self._why = f"{type(error).__name__}: {error}"
            return {}  # a GGUF may be brought all the same, and whoever brings none will be told
        self._converter = converter
        return versions

    def gguf_of(self, folder: Path, target: Path, *, synthetic: bool) -> Path:
        """Return the GGUF. One of the publisher's is what users of a GGUF get, so it goes before one of ours.

        A ``synthetic`` tokenizer, of a miniature of ours, is none that the converter can recognise by itself.
        """
        own = sorted(folder.glob("*.gguf"))
        if len(own) > 1:
            raise BadFileError(f"the folder holds {len(own)} GGUF files, and nothing says which is meant")
        if own:
            return own[0]
        if self._converter is None:
            raise NoConverterError(f"the folder holds no GGUF, and none can be made here: {self._why}")
        try:
            self._converter.convert(folder, target, synthetic=synthetic)
        except (MemoryError, OSError):
            raise
        except Exception as error:
            unfit = self._converter.out_of_range()
            if unfit:
                raise NoConverterError(f"{unfit}: {error}") from error
            raise ConversionError(f"{type(error).__name__}: {error}") from error
        return target
