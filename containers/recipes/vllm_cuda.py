"""How vLLM is installed and run on an NVIDIA accelerator: the index's builds; not measured yet."""

from __future__ import annotations

from containers.recipe import Recipe, pinned
from containers.recipes import vllm

RECIPE = Recipe(
    runtime="vllm",
    accelerator="cuda",
    requirements=lambda version: (pinned("vllm", version),),
    imported=vllm.RECIPE.imported | {"triton", "flashinfer-python", "torchvision"},
    exempt=("setuptools",),
    forks=False,  # a process that has begun to use a GPU cannot be forked
    heavy=True,  # one job for each GPU
    memory_bytes=16 << 30,
    shm_bytes=1 << 30,
    libraries=("libnuma1", "gcc", "libc6-dev"),  # triton compiles its launchers with a C compiler
    environment={
        name: value
        for name, value in vllm.RECIPE.environment.items()
        if name not in {"VLLM_CPU_KVCACHE_SPACE", "TORCHDYNAMO_DISABLE"}
    },
    unverified="it has been run on no accelerator yet",
)
