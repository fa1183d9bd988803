"""How Ollama is installed and run: its release archive, beside llama.cpp's converter and what that stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containers.archives import Archive, Shape
from containers.recipes import transformers, xllamacpp

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = "ollama"

# whoever brings no GGUF has one made; Ollama's own converter knows few architectures, and users take llama.cpp's
SOURCES = xllamacpp.SOURCES

IMPORTED = frozenset({"ollama", *xllamacpp.IMPORTED}) - {"xllamacpp"}

EXEMPT: tuple[str, ...] = transformers.EXEMPT

FORKS = True  # each subject's process starts a server of its own
HEAVY = False
MEMORY_BYTES: int | None = None
SHM_BYTES = 64 << 20
LIBRARIES: tuple[str, ...] = ()

ENVIRONMENT: Mapping[str, str] = transformers.ENVIRONMENT  # the converter's; the server's own are the probe's to set

UNVERIFIED = "its probes have only been run against a stand-in of the documented protocol, never against a release"

_RELEASE = "https://github.com/ollama/ollama/releases/download/v{version}"
ARCHIVE: Archive | None = Archive(
    # zstd since 0.14.0, gzip before; the first does not exist for an older release, and the other way round
    addresses=(f"{_RELEASE}/ollama-linux-{{machine}}.tar.zst", f"{_RELEASE}/ollama-linux-{{machine}}.tgz"),
    sums=f"{_RELEASE}/sha256sum.txt",
    shape=Shape(
        kept=("bin/ollama", "lib/ollama/*"),
        # gigabytes of what only a graphics card runs
        dropped=("lib/ollama/cuda*", "lib/ollama/rocm*", "lib/ollama/vulkan*", "lib/ollama/mlx*"),
        wanted="bin/ollama",
    ),
)


def requirements(_version: str | None) -> tuple[str, ...]:
    """Ask the index for the converter's needs alone: a version is the archive's."""
    return xllamacpp.CONVERTER
