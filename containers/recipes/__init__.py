"""The recipes: a new runtime is one module here, with a ``RECIPE``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.recipe import Recipe

_ALL: tuple[Recipe, ...] = tuple(import_module(f"{__name__}.{module.name}").RECIPE for module in iter_modules(__path__))
_ON: Mapping[tuple[str, str], Recipe] = {(recipe.runtime, recipe.accelerator): recipe for recipe in _ALL}
RECIPES: Mapping[str, Recipe] = {recipe.runtime: recipe for recipe in _ALL if not recipe.accelerator}


def recipe_of(runtime: str, accelerator: str = "cpu") -> Recipe:
    """Return the recipe for a runtime on an accelerator: the one made for it, else the runtime's."""
    return _ON.get((runtime, accelerator)) or RECIPES[runtime]
