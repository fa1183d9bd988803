"""How vLLM is installed and run on an NVIDIA accelerator; not measured yet, for want of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containers.recipes import transformers, vllm

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = "vllm"
DISTRIBUTION = "vllm"
MISLABELLED: tuple[str, ...] = ()
IMPORTED = vllm.IMPORTED | {"triton", "flashinfer-python", "torchvision"}
EXEMPT: tuple[str, ...] = ("setuptools",)
FORKS = False  # a process that has begun to use a GPU cannot be forked
HEAVY = True  # one job for each GPU
MEMORY_BYTES: int | None = 16 << 30
SHM_BYTES = 1 << 30
LIBRARIES: tuple[str, ...] = ("libnuma1", "gcc", "libc6-dev")  # triton compiles its launchers with a C compiler
SOURCES: tuple[str, ...] = ()
ARCHIVE = transformers.ARCHIVE
UNVERIFIED = "it has been run on no accelerator yet"
ENVIRONMENT: Mapping[str, str] = {
    name: value
    for name, value in vllm.ENVIRONMENT.items()
    if name not in {"VLLM_CPU_KVCACHE_SPACE", "TORCHDYNAMO_DISABLE"}
}


def requirements(version: str | None) -> tuple[str, ...]:
    return (f"{DISTRIBUTION}=={version}" if version else DISTRIBUTION,)


def overrides(version: str | None) -> tuple[str, ...]:
    """Override nothing: the index's builds are those of CUDA."""
    del version
    return ()
