"""How xllamacpp is installed and run: wheels, beside llama.cpp's own converter and what that stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containers.recipes import transformers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.archives import Archive

RUNTIME = "xllamacpp"

# Its own sources hold the llama.cpp that it is built of, converter included, from 0.2.2 on; before that the nearest of
# the day are those of the other binding.
SOURCES: tuple[str, ...] = ("xllamacpp>=0.2.2", "llama-cpp-python")

IMPORTED = frozenset(
    {"xllamacpp", "sources/xllamacpp", "sources/llama-cpp-python", "torch", "transformers", "tokenizers", "numpy",
     "sentencepiece", "safetensors", "mistral-common"}
)  # fmt: skip

EXEMPT: tuple[str, ...] = transformers.EXEMPT

FORKS = True  # the parent only imports; every subject's process starts its own threads
HEAVY = False
MEMORY_BYTES: int | None = None
SHM_BYTES = 64 << 20
LIBRARIES: tuple[str, ...] = ()
ARCHIVE: Archive | None = None
UNVERIFIED = ""

ENVIRONMENT: Mapping[str, str] = transformers.ENVIRONMENT

# What llama.cpp's requirements-convert_hf_to_gguf.txt has asked for so far, the last one in the second half of 2025
# only; the probe looks whether the release's own still does.
CONVERTER = (
    "torch", "transformers>=4.45.1,<5", "sentencepiece>=0.1.98,<0.3", "protobuf>=4.21,<5", "numpy", "mistral-common",
)  # fmt: skip


def requirements(version: str | None) -> tuple[str, ...]:
    return (f"xllamacpp=={version}" if version else "xllamacpp", *CONVERTER)
