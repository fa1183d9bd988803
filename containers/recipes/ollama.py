"""How Ollama is installed and run: its release archive, with llama.cpp's converter and its requirements."""

from __future__ import annotations

from containers.recipe import Recipe, ReleaseArchive, Shape
from containers.recipes import xllamacpp

_RELEASE = "https://github.com/ollama/ollama/releases/download/v{version}"

RECIPE = Recipe(
    runtime="ollama",
    # the converter's requirements alone: the version is the archive's
    requirements=lambda _: xllamacpp.CONVERTER,
    imported=frozenset({"ollama", *xllamacpp.RECIPE.imported}) - {"xllamacpp"},
    # a model without a GGUF is converted; Ollama's converter knows few architectures, and users take llama.cpp's
    sources=xllamacpp.RECIPE.sources,
    forks=True,  # each subject's process starts its own server, and sets that server's variables
    archive=ReleaseArchive(
        # zstd since 0.14.0, gzip before; the first does not exist for an older release, and the other way round
        addresses=(f"{_RELEASE}/ollama-linux-{{machine}}.tar.zst", f"{_RELEASE}/ollama-linux-{{machine}}.tgz"),
        sums=f"{_RELEASE}/sha256sum.txt",
        shape=Shape(
            kept=("bin/ollama", "lib/ollama/*"),
            # gigabytes that only a graphics card runs
            dropped=("lib/ollama/cuda*", "lib/ollama/rocm*", "lib/ollama/vulkan*", "lib/ollama/mlx*"),
            wanted="bin/ollama",
        ),
    ),
    unverified="its probes have only been run against a stand-in of the documented protocol, never against a release",
)
