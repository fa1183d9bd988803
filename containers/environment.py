"""An environment on disk: where it lies, what marks it as whole, what it holds."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from importlib.metadata import Distribution
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from containers.engine import Mount

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from containers.lock import Lock, Pin

MARKER = ".settle.json"
LOCK = "settle-lock.txt"


@dataclass(frozen=True, slots=True)
class Environment:
    """A release with its lock, installed; ``seconds`` is what building it took, whenever that was."""

    digest: str
    path: Path
    built: bool  # by this very call
    seconds: float
    log: bytes = b""

    @property
    def mount(self) -> Mount:
        """Show it read-only where it lies: its files are the cache's files."""
        return Mount(self.path, str(self.path))

    @property
    def lock_text(self) -> str:
        return (self.path / LOCK).read_text(encoding="utf-8")


def read_environment(path: Path) -> Environment | None:
    """Return the whole environment at a path; one without its marker does not count."""
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
        return Environment(digest=marker["digest"], path=path, built=False, seconds=float(marker["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def seal(path: Path, lock: Lock, *, seconds: float) -> None:
    """Write lock and marker, and have both on the disk before anybody can see the environment."""
    for name, text in ((LOCK, lock.text), (MARKER, json.dumps({"digest": lock.digest, "seconds": round(seconds, 3)}))):
        with (path / name).open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    sync_folder(path)


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def touch(path: Path) -> None:
    """Note that an environment was used now."""
    with contextlib.suppress(OSError):  # gone or read-only: it only matters for cleaning up
        os.utime(path / MARKER)


def site_packages(path: Path) -> Path:
    return next(path.glob("lib/python3*/site-packages"))


def differences(path: Path, lock: Lock) -> list[str]:
    """Compare what is installed with the lock, one sentence a difference."""
    found = dict(_named(info) for info in site_packages(path).glob("*.dist-info"))
    wanted: dict[str, Pin] = {pin.name: pin for pin in lock.packages}
    said = [f"{name} {found[name]} is installed but not in the lock" for name in sorted(set(found) - set(wanted))]
    for name, pin in wanted.items():
        if name not in found:
            said.append(f"{name} {pin.version} is in the lock but not installed")
        elif pin.version and not _same(found[name], pin.version):
            said.append(f"{name} {found[name]} is installed, the lock says {pin.version}")
    return said


def _named(info: Path) -> tuple[str, str]:
    """Return name and version; by the folder where a package brings metadata that nobody can read."""
    name, _, version = info.name.removesuffix(".dist-info").partition("-")
    try:
        metadata = Distribution.at(info).metadata
        if "Name" in metadata and "Version" in metadata:
            name, version = metadata["Name"], metadata["Version"]
    except (OSError, ValueError):
        pass  # `uv pip check` has said it, and that is the package's fault
    return canonicalize_name(name), version


# uv writes a line for each: The package `x` requires `y>=1`, but `0.9` is installed | but it's not installed
# | requires Python >=3.99, but .. | is broken or incomplete .. | has multiple .. | was built for a different platform
FINDING = re.compile(r"^The package `.*$", re.MULTILINE)
MISLABELLED = re.compile(r"The package `(?P<what>[^`]+)` was built for a different platform")
REQUIRES = re.compile(r"The package `[^`]+` requires `(?P<what>[A-Za-z0-9._-]+)[^`]*`, but ")


def findings(check: str) -> list[str]:
    """Return everything that ``uv pip check`` complains of, a line each."""
    return [line.strip() for line in FINDING.findall(check)]


def contradictions(check: str, *, overridden: Iterable[str]) -> list[str]:
    """Return what ``uv pip check`` complains of, without what an override of ours contradicts on purpose.

    A package that is named there may say in its own label that it is another platform's: installers go by the name of
    the file, and whether it runs is what importing it shows.
    """
    meant = {canonicalize_name(re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0]) for text in overridden}

    def excused(line: str) -> bool:
        found = REQUIRES.match(line) or MISLABELLED.match(line)
        return found is not None and canonicalize_name(found["what"]) in meant

    return [line for line in findings(check) if not excused(line)]


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
