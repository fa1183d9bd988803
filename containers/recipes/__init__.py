"""A recipe says how one runtime is installed and run; a new runtime is one module here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from containers.recipes import transformers

if TYPE_CHECKING:
    from collections.abc import Mapping


class Recipe(Protocol):
    """What a module of this package offers."""

    RUNTIME: str
    IMPORTED: frozenset[str]  # packages a probe really imports: a change of one is a change of what is measured
    EXEMPT: tuple[str, ...]  # packages that the cutoff of a day does not touch
    ENVIRONMENT: Mapping[str, str]  # variables of the probe
    FORKS: bool  # one import may serve many subjects; else each has a session, and imports for itself

    def requirements(self, version: str | None) -> tuple[str, ...]:
        """Return what to install for a version, or for the newest."""
        ...


_TRANSFORMERS: Recipe = transformers
RECIPES: Mapping[str, Recipe] = {recipe.RUNTIME: recipe for recipe in (_TRANSFORMERS,)}
