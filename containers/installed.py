"""What is installed below a root and how much space it takes, which needs neither an engine nor a base to say."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from containers.environment import MARKER, read_environment
from containers.installer import FOLDERS, unique_path
from containers.leftovers import remove
from containers.storage import StoredItem, disk_bytes, remove_wheel, stored_items

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from containers.environment import Environment


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk, files with several names counted once; items in the order of their last use."""

    total_bytes: int
    cache_bytes: int
    environments: tuple[StoredItem, ...]
    artefacts: tuple[StoredItem, ...] = ()  # unpacked
    wheels: tuple[StoredItem, ...] = ()  # built from source
    bytecode_bytes: int = 0  # of packages, as far as no environment shares it


class Installed:
    """The files of all environments, below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def remove(self, digest: str) -> None:
        """Remove an environment: first out of sight, then from the disk."""
        aside = unique_path(self._root / "envs" / f".removing-{digest}")
        with contextlib.suppress(FileNotFoundError):
            (self._root / "envs" / digest).rename(aside)
        remove(aside)

    def remove_artefact(self, digest: str) -> None:
        """Remove an unpacked archive; it is fetched again where a lock names it."""
        remove(self._root / "artefacts" / digest)

    def remove_wheel(self, digest: str) -> None:
        """Remove a wheel that was built from source; another build of it gives another wheel."""
        remove_wheel(self._root / "wheels", digest)

    def remove_bytecode(self) -> None:
        """Remove the bytecode that no environment shares; it is compiled again where a package is installed again."""
        for package in self._bytecode():
            if disk_bytes(package, unique=True):
                remove(package)

    def usage(self) -> Usage:
        """Measure everything; it looks at every file, so many files take a while."""
        whole = list(self._whole())
        environments = [
            StoredItem(each.digest, disk_bytes(each.path, unique=True), (each.path / MARKER).stat().st_mtime)
            for each in whole
        ]
        locks = {environment.digest: environment.lock_text for environment in whole}
        return Usage(
            total_bytes=disk_bytes(*(self._root / name for name in FOLDERS)),
            cache_bytes=disk_bytes(self._root / "cache"),
            environments=tuple(sorted(environments, key=lambda environment: environment.last_used)),
            artefacts=stored_items(self._root / "artefacts", locks),
            wheels=stored_items(self._root / "wheels", locks),
            bytecode_bytes=disk_bytes(*self._bytecode(), unique=True),
        )

    def _whole(self) -> Iterator[Environment]:
        for path in _folders(self._root / "envs"):
            environment = read_environment(path)
            if environment is not None:
                yield environment

    def _bytecode(self) -> list[Path]:
        """Return a folder a package; those of one Python lie together."""
        return [package for python in _folders(self._root / "bytecode") for package in _folders(python)]


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
