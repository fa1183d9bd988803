"""Builds the probe bundle: the files of ``probes`` as one zip, the same bytes everywhere; its digest is the suite."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = "import sys\n\nfrom probes.session import main\n\nsys.exit(main(sys.argv[1:]))\n"
_NOT_PROBING = frozenset({"derive.py"})  # runs by itself when miniatures are made; it must not change the suite


def build_bundle(target: Path) -> str:
    """Write the bundle to ``target`` and return its sha256, which names the suite."""
    content = _content()
    digest = hashlib.sha256(content).hexdigest()
    if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != digest:
        aside = target.with_name(f"{target.name}.{os.getpid()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(target)
    return digest


def suite() -> str:
    """Return the digest of the bundle that this installation would build."""
    return hashlib.sha256(_content()).hexdigest()


def _content() -> bytes:
    files = {name: source for name, source in _sources(resources.files("probes"), "probes/") if name}
    files["__main__.py"] = _MAIN.encode()
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
