"""A recipe says how one runtime is installed and run; a new runtime is one module here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from containers.recipes import ollama, peft, transformers

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
    SOURCES: tuple[str, ...]  # distributions whose source archive of the day lies unpacked beside the environment
    ARCHIVE: Archive | None  # of a runtime that is no Python package
    UNVERIFIED: str  # why its verdicts are not to be relied on yet, "" where real releases were probed

    def requirements(self, version: str | None) -> tuple[str, ...]:
        """Return what to install for a version, or for the newest."""
        ...


_TRANSFORMERS: Recipe = transformers
_PEFT: Recipe = peft
_OLLAMA: Recipe = ollama
RECIPES: Mapping[str, Recipe] = {recipe.RUNTIME: recipe for recipe in (_TRANSFORMERS, _PEFT, _OLLAMA)}
