"""An environment on disk: its marker, its lock, and whether it holds what the lock names."""

from __future__ import annotations

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

    from containers.lock import Lock

MARKER = ".settle.json"
LOCK = "settle-lock.txt"


@dataclass(frozen=True, slots=True)
class Environment:
    """A release with its lock, installed; ``seconds`` is the time that building it took."""

    digest: str
    path: Path
    built: bool  # by this call
    seconds: float
    log: bytes = b""

    @property
    def mount(self) -> Mount:
        """Show it read-only under its path: its files are the cache's files."""
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
    """Write lock and marker, both on the disk before the environment can be seen."""
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


def site_packages(path: Path) -> Path:
    return next(path.glob("lib/python3*/site-packages"))


def differences(path: Path, lock: Lock) -> list[str]:
    """Compare what is installed with the lock, one sentence a difference."""
    installed = dict(_name_and_version(info) for info in site_packages(path).glob("*.dist-info"))
    pins = {pin.name: pin for pin in lock.packages}
    extra = sorted(set(installed) - set(pins))
    sentences = [f"{name} {installed[name]} is installed but not in the lock" for name in extra]
    for name, pin in pins.items():
        if name not in installed:
            sentences.append(f"{name} {pin.version} is in the lock but not installed")
        elif pin.version and not _same(installed[name], pin.version):
            sentences.append(f"{name} {installed[name]} is installed, the lock has {pin.version}")
    return sentences


def _name_and_version(info: Path) -> tuple[str, str]:
    """Return name and version; by the folder where the package's metadata cannot be read."""
    name, _, version = info.name.removesuffix(".dist-info").partition("-")
    try:
        metadata = Distribution.at(info).metadata
        if "Name" in metadata and "Version" in metadata:
            name, version = metadata["Name"], metadata["Version"]
    except (OSError, ValueError):
        pass  # `uv pip check` reports it, as the package's fault
    return canonicalize_name(name), version


# uv writes a line for each: The package `x` requires `y>=1`, but `0.9` is installed | but it's not installed
# | requires Python >=3.99, but .. | is broken or incomplete .. | has multiple .. | was built for a different platform
FINDING = re.compile(r"^The package `.*$", re.MULTILINE)
MISLABELLED = re.compile(r"The package `(?P<name>[^`]+)` was built for a different platform")
REQUIRES = re.compile(r"The package `[^`]+` requires `(?P<name>[A-Za-z0-9._-]+)[^`]*`, but ")


def findings(check: str) -> list[str]:
    """Return the complaints of ``uv pip check``, a line each."""
    return [line.strip() for line in FINDING.findall(check)]


def contradictions(check: str, *, allowed: Iterable[str]) -> list[str]:
    """Return the complaints of ``uv pip check``, without those about ``allowed`` requirements.

    The label of an allowed package may be another platform's: installers go by the name of the file, and importing it
    shows whether it runs.
    """
    names = {canonicalize_name(re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0]) for text in allowed}

    def excused(line: str) -> bool:
        match = REQUIRES.match(line) or MISLABELLED.match(line)
        return match is not None and canonicalize_name(match["name"]) in names

    return [line for line in findings(check) if not excused(line)]


def _same(version: str, other: str) -> bool:
    try:
        return Version(version) == Version(other)
    except InvalidVersion:
        return version == other
