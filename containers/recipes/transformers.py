"""How transformers is installed and run: with torch, and with what its chat templates need."""

from __future__ import annotations

from containers.recipe import Recipe, pinned

RECIPE = Recipe(
    runtime="transformers",
    # chat templates need jinja2, and no release of transformers asks for it
    requirements=lambda version: (pinned("transformers", version), "torch", "jinja2"),
    imported=frozenset(
        {"transformers", "torch", "tokenizers", "safetensors", "huggingface-hub", "numpy", "jinja2", "regex", "pyyaml"}
    ),
    forks=True,  # on a CPU; a process that has begun to use a GPU cannot be forked
)
