"""How llama-cpp-python is installed and run: built from its sources once a version, beside its own converter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containers.recipes import transformers, xllamacpp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.archives import Archive

RUNTIME = "llama-cpp-python"

SOURCES: tuple[str, ...] = ("llama-cpp-python",)

IMPORTED = frozenset({"llama-cpp-python", "fastapi", "starlette", "pydantic", *xllamacpp.IMPORTED}) - {
    "xllamacpp",
    "sources/xllamacpp",
}

EXEMPT: tuple[str, ...] = transformers.EXEMPT

FORKS = True
HEAVY = False
MEMORY_BYTES: int | None = None
SHM_BYTES = 64 << 20
LIBRARIES: tuple[str, ...] = ("libgomp1",)
ARCHIVE: Archive | None = None
UNVERIFIED = ""

BUILD_LIBRARIES: tuple[str, ...] = ("g++", "cmake", "ninja-build")
BUILD_SECONDS = 5400.0  # five minutes on four idle processors, a quarter of an hour on two busy ones
BUILD_ENVIRONMENT: Mapping[str, str] = {
    # for any processor of this kind, and without the part for pictures, which is the longest to compile
    "CMAKE_ARGS": "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF",
    "CMAKE_BUILD_PARALLEL_LEVEL": "2",
}

ENVIRONMENT: Mapping[str, str] = transformers.ENVIRONMENT


def requirements(version: str | None) -> tuple[str, ...]:
    """Ask for its server, too, which has requirements of its own."""
    named = "llama-cpp-python[server]"
    return (f"{named}=={version}" if version else named, *xllamacpp.CONVERTER)
