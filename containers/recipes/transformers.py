"""How transformers is installed and run: with torch, and with what chat templates and images need."""

from __future__ import annotations

from containers.recipe import Recipe, pinned

RECIPE = Recipe(
    runtime="transformers",
    # chat templates need jinja2, and images Pillow; no release of transformers asks for them
    requirements=lambda version: (pinned("transformers", version), "torch", "jinja2", "pillow"),
    imported=frozenset(
        {
            "transformers",
            "torch",
            "tokenizers",
            "safetensors",
            "huggingface-hub",
            "numpy",
            "jinja2",
            "regex",
            "pyyaml",
            "pillow",
        }
    ),
    forks=True,  # on a CPU; a process that has begun to use a GPU cannot be forked
)
