"""A recipe says how one runtime is installed and run; a new runtime is one module here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from containers.recipes import llama_cpp_python, ollama, peft, transformers, vllm, vllm_cuda, xllamacpp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.archives import Archive


class Recipe(Protocol):
    """What a module of this package offers."""

    RUNTIME: str
    IMPORTED: frozenset[str]  # packages a probe really imports: a change of one is a change of what is measured
    EXEMPT: tuple[str, ...]  # packages that the cutoff of a day does not touch
    ENVIRONMENT: Mapping[str, str]  # variables of the probe
    FORKS: bool  # one import may serve many subjects; else each has a session, and imports for itself
    HEAVY: bool  # a probe of it never runs beside another container
    MEMORY_BYTES: int | None  # what a probe's container needs, None for what is configured
    SHM_BYTES: int  # shared memory of a probe
    LIBRARIES: tuple[str, ...]  # Debian packages that a probe needs beside the base's own
    # Requirements, of which the first that can be met is taken: its source archive, of the version that is installed or
    # else the newest of the day, is unpacked in the environment, to be read
    SOURCES: tuple[str, ...]
    ARCHIVE: Archive | None  # of a runtime that is no Python package
    UNVERIFIED: str  # why its verdicts are not to be relied on yet, "" where real releases were probed

    def requirements(self, version: str | None) -> tuple[str, ...]:
        """Return what to install for a version, or for the newest."""
        ...


@runtime_checkable
class Overriding(Recipe, Protocol):
    """A recipe whose package has another name than its runtime, or asks for what cannot be had."""

    DISTRIBUTION: str  # what the index calls it; the release day is still that of the runtime's own name

    MISLABELLED: tuple[str, ...]  # packages whose wheels say in their own label that they are another platform's

    def overrides(self, version: str | None) -> tuple[str, ...]:
        """Return requirements that replace what the packages of a version ask for."""
        ...


@runtime_checkable
class Built(Recipe, Protocol):
    """A recipe whose runtime has only sources."""

    BUILD_LIBRARIES: tuple[str, ...]  # Debian packages that building it needs
    BUILD_ENVIRONMENT: Mapping[str, str]
    BUILD_SECONDS: float  # a limit of its own: compiling takes longer than installing


_TRANSFORMERS: Recipe = transformers
_PEFT: Recipe = peft
_OLLAMA: Recipe = ollama
_XLLAMACPP: Recipe = xllamacpp
_LLAMA_CPP_PYTHON: Built = llama_cpp_python
_VLLM: Overriding = vllm
_VLLM_CUDA: Overriding = vllm_cuda
_ALL = (_TRANSFORMERS, _PEFT, _OLLAMA, _VLLM, _XLLAMACPP, _LLAMA_CPP_PYTHON)
RECIPES: Mapping[str, Recipe] = {recipe.RUNTIME: recipe for recipe in _ALL}
_ON_CUDA: Mapping[str, Recipe] = {recipe.RUNTIME: recipe for recipe in (_VLLM_CUDA,)}


def recipe_of(runtime: str, accelerator: str = "cpu") -> Recipe:
    """Return the recipe for a runtime on an accelerator; one without its own for that serves both."""
    own = _ON_CUDA if accelerator == "cuda" else RECIPES
    return own.get(runtime) or RECIPES[runtime]


def distribution_of(recipe: Recipe) -> str:
    return recipe.DISTRIBUTION if isinstance(recipe, Overriding) else recipe.RUNTIME


def overrides_of(recipe: Recipe, version: str | None) -> tuple[str, ...]:
    return recipe.overrides(version) if isinstance(recipe, Overriding) else ()


def meant_of(recipe: Recipe, version: str | None) -> tuple[str, ...]:
    """Return the requirements that an environment of this recipe contradicts on purpose, or in name only."""
    return (*overrides_of(recipe, version), *(recipe.MISLABELLED if isinstance(recipe, Overriding) else ()))
