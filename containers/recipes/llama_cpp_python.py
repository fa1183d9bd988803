"""How llama-cpp-python is installed and run: built from its sources once a version, with llama.cpp's converter."""

from __future__ import annotations

from containers.recipe import Recipe, pinned
from containers.recipes import xllamacpp

RECIPE = Recipe(
    runtime="llama-cpp-python",
    # with its server, which has requirements of its own
    requirements=lambda version: (pinned("llama-cpp-python[server]", version), *xllamacpp.CONVERTER),
    imported=frozenset({"llama-cpp-python", "fastapi", "starlette", "pydantic", *xllamacpp.RECIPE.imported})
    - {"xllamacpp", "sources/xllamacpp"},
    sources=("llama-cpp-python",),
    libraries=("libgomp1",),
    build_libraries=("g++", "cmake", "ninja-build"),
    build_seconds=5400.0,  # five minutes on four idle processors, a quarter of an hour on two busy ones
    build_environment={
        # for any processor of this kind, and without the part for pictures, which is the longest to compile
        "CMAKE_ARGS": "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF",
        "CMAKE_BUILD_PARALLEL_LEVEL": "2",
    },
)
