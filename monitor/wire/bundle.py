"""Builds the probe bundle: the files of ``probes`` as one zip, the same bytes everywhere; of them come the suites."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import zipfile
from importlib import resources
from typing import TYPE_CHECKING

from probes.wire import CHECKS, PARTS, RUNTIMES, WIRE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from probes.wire import Probing

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = "import sys\n\nfrom probes.session import main\n\nsys.exit(main(sys.argv[1:]))\n"
_NOT_PROBING = frozenset({"derive.py"})  # runs by itself when miniatures are made; it must not change the suite


def build_bundle(target: Path) -> str:
    """Write the bundle to ``target`` and return its sha256."""
    content = _content()
    digest = hashlib.sha256(content).hexdigest()
    if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != digest:
        aside = target.with_name(f"{target.name}.{os.getpid()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(target)
    return digest


@functools.cache
def suite_of(runtime: str) -> str:
    """Return the digest of everything that probes this runtime: what only others use may change beside it."""
    own = RUNTIMES[runtime]
    digest = hashlib.sha256(repr((WIRE, PARTS, own, [CHECKS[name] for name in own.checks])).encode())
    for name, source in sorted(_files().items()):
        if used(name, own):
            digest.update(f"{name}\n{len(source)}\n".encode() + source)
    return digest.hexdigest()


def used(name: str, own: Probing) -> bool:
    """Tell whether a file takes part: of adapters and checks those in use; the wire's own part is told apart."""
    folder, _, file = name.rpartition("/")
    module = file.removesuffix(".py")
    if folder == "probes/runtimes":
        return module == "__init__" or module in own.modules
    if folder == "probes/checks":
        return module in {*own.modules, *(check.partition(".")[0] for check in own.checks)}
    return name != "probes/wire.py"


def _files() -> dict[str, bytes]:
    files = dict(_sources(resources.files("probes"), "probes/"))
    files["__main__.py"] = _MAIN.encode()
    return files


def _content() -> bytes:
    files = _files()
    buffer = io.BytesIO()
    # stored, not deflated: compressors differ between machines, and it is read once
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, source in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, source)
    return buffer.getvalue()


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py") and entry.name not in _NOT_PROBING:
            # line ends are the checkout's, not ours
            yield prefix + entry.name, entry.read_bytes().replace(b"\r\n", b"\n")
