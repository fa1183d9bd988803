"""How xllamacpp is installed and run: wheels, with llama.cpp's converter and its requirements."""

from __future__ import annotations

from containers.recipe import Recipe, pinned

# What llama.cpp's requirements-convert_hf_to_gguf.txt has asked for so far, the last one in the second half of 2025
# only; the probe looks whether the release's own still does.
CONVERTER = (
    "torch", "transformers>=4.45.1,<5", "sentencepiece>=0.1.98,<0.3", "protobuf>=4.21,<5", "numpy", "mistral-common",
)  # fmt: skip

RECIPE = Recipe(
    runtime="xllamacpp",
    requirements=lambda version: (pinned("xllamacpp", version), *CONVERTER),
    imported=frozenset(
        {"xllamacpp", "sources/xllamacpp", "sources/llama-cpp-python", "torch", "transformers", "tokenizers", "numpy",
         "sentencepiece", "safetensors", "mistral-common"}
    ),
    # Its sources hold the llama.cpp that it is built of, converter included, from 0.2.2 on; before that the nearest of
    # the day are those of the other binding.
    sources=("xllamacpp>=0.2.2", "llama-cpp-python"),
    forks=True,  # the parent only imports; every subject's process starts its own threads
)  # fmt: skip
