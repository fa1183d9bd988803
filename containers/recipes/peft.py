"""How peft is installed and run: with the transformers, the accelerate and the torch that a user gets with it."""

from __future__ import annotations

from containers.recipe import Recipe, pinned
from containers.recipes import transformers

RECIPE = Recipe(
    runtime="peft",
    requirements=lambda version: (pinned("peft", version), "accelerate", *transformers.RECIPE.requirements(None)),
    imported=transformers.RECIPE.imported | {"peft", "accelerate"},
)
