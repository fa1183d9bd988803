"""How transformers is installed and run: with torch, and with what its chat templates need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.archives import Archive

RUNTIME = "transformers"

IMPORTED = frozenset(
    {"transformers", "torch", "tokenizers", "safetensors", "huggingface-hub", "numpy", "jinja2", "regex", "pyyaml"}
)

# CPU wheels of torch lie where no upload times are told, and torch asks for a setuptools newer than most days: with
# both under the cutoff 4.49.0 does not resolve.
EXEMPT: tuple[str, ...] = ("torch", "setuptools")

FORKS = True  # on a CPU; one that has begun to use a GPU cannot be forked
HEAVY = False
MEMORY_BYTES: int | None = None
SHM_BYTES = 64 << 20
LIBRARIES: tuple[str, ...] = ()
SOURCES: tuple[str, ...] = ()
ARCHIVE: Archive | None = None
UNVERIFIED = ""

ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",  # its threads and forked children do not go together
    "OMP_NUM_THREADS": "1",  # the same sums in the same order, and a fork without a thread pool
    "MKL_NUM_THREADS": "1",
    # glibc gives every large tensor back to the kernel and asks for the next: a sixth of a probe's time
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def requirements(version: str | None) -> tuple[str, ...]:
    """Ask for jinja2 by name: chat templates need it, and no release of transformers asks for it."""
    return (f"transformers=={version}" if version else "transformers", "torch", "jinja2")
