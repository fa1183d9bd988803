"""Builds the probe bundle: the files of ``probes`` as one zip, the same bytes everywhere; of them come the suites."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import os
import re
import zipfile
from importlib import resources
from typing import TYPE_CHECKING

from probes import catalogue
from probes.wire import PARTS, WIRE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = "import sys\n\nfrom probes.session import main\n\nsys.exit(main(sys.argv[1:]))\n"
_NAMED = re.compile(r"(probes(?:\.\w+)+)(?::\w+)?")  # a module, or a class in it
_NOT_PROBING = frozenset({"derive.py"})  # runs by itself when miniatures are made; it must not change the suite


def build_bundle(target: Path) -> str:
    """Write the bundle to ``target`` and return its sha256."""
    buffer = io.BytesIO()
    # stored, not deflated: compressors differ between machines, and it is read once
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, source in sorted(_files().items()):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, source)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != digest:
        aside = target.with_name(f"{target.name}.{os.getpid()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(target)
    return digest


@functools.cache
def suite_of(runtime: str) -> str:
    """Return the digest of everything that probes this runtime; it stays when a file changes that only others use."""
    files = _files()
    # of the wire only these two change what a probe sees: a new fault alone must not ask every model again
    digest = hashlib.sha256(repr((WIRE, PARTS)).encode())
    for name in sorted(used(runtime, files) - {"probes/wire.py"}):
        digest.update(f"{name}\n{len(files[name])}\n".encode() + files[name])
    return digest.hexdigest()


def used(runtime: str, files: Mapping[str, bytes]) -> set[str]:
    """Return which of the files the probe of a runtime imports: the session, the adapter, the checks and what they use.

    A module counts as imported, too, where its name is written in a string, for some are named to the runtime.
    """
    names = ["__main__.py"]
    wanted = ["probes.session", *sorted(catalogue.modules_of(runtime))]
    for module in wanted:  # grows while it is walked
        path = module.replace(".", "/")
        file = next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in files), "")
        if file and file not in names:
            names.append(file)
            wanted += [module.rpartition(".")[0], *_imported(files[file])]
    return set(names)


def _imported(source: bytes) -> Iterator[str]:
    nodes: list[ast.AST] = [ast.parse(source)]
    for node in nodes:  # grows while it is walked
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                nodes += node.orelse
                continue
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield from (module, *(f"{module}.{alias.name}" for alias in node.names))
            case ast.Constant(value=str(text)) if named := _NAMED.fullmatch(text):
                yield named[1]
        nodes += ast.iter_child_nodes(node)


def _files() -> dict[str, bytes]:
    files = dict(_sources(resources.files("probes"), "probes/"))
    files["__main__.py"] = _MAIN.encode()
    return files


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py") and entry.name not in _NOT_PROBING:
            # line ends are the checkout's, not ours
            yield prefix + entry.name, entry.read_bytes().replace(b"\r\n", b"\n")
