"""What environments are made of and is kept beside them, a folder named by its hash each: its size, who needs it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Kept:
    digest: str
    name: str
    bytes: int
    last_used: float  # seconds since the epoch
    needed_by: frozenset[str]  # digests of the environments whose lock names it


def measure(root: Path, locks: Mapping[str, str]) -> tuple[Kept, ...]:
    """Return everything kept below ``root``, longest unused first.

    ``locks`` is the text of each environment's lock by its digest. A folder is called what its first file is.
    """
    found = [
        Kept(
            digest=folder.name,
            name=next((file.name for file in sorted(folder.iterdir())), "something unfinished"),
            bytes=sum(file.lstat().st_blocks * 512 for file in _files(folder)),
            last_used=folder.stat().st_mtime,
            needed_by=frozenset(digest for digest, text in locks.items() if f"sha256:{folder.name}" in text),
        )
        for folder in root.iterdir()
        if folder.is_dir()
    ]
    return tuple(sorted(found, key=lambda one: one.last_used))


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)
