"""How releases that are archives are published, and which one is meant; pure."""

from __future__ import annotations

from dataclasses import dataclass

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # in the words of those who publish archives


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wanted of an archive; patterns of names as a shell has them."""

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    wanted: str  # a file without which it is not the archive that was meant


def source_shape(address: str) -> Shape:
    """Return what is wanted of a package's source archive: its Python files, and what they ask to be installed."""
    name = address.partition("?")[0].partition("#")[0].rpartition("/")[2].removesuffix(".tar.gz")
    return Shape(kept=("*.py", "*/requirements*.txt", "*/PKG-INFO"), dropped=(), wanted=f"{name}/PKG-INFO")


@dataclass(frozen=True, slots=True)
class Archive:
    """Patterns with ``{version}`` and ``{machine}``; of several addresses the first that exists is taken."""

    addresses: tuple[str, ...]
    sums: str  # the publisher's list of sha256, "" without one
    shape: Shape

    def of(self, name: str, version: str, machine: str, *, sha256: str = "") -> Wanted:
        def filled(pattern: str) -> str:
            # not str.format: an address or a path may hold braces of its own
            return pattern.replace("{version}", version).replace("{machine}", MACHINES.get(machine, machine))

        return Wanted(name, version, tuple(map(filled, self.addresses)), self.shape, filled(self.sums), sha256)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artefact that is asked for; ``sums`` and ``sha256`` may be empty."""

    name: str
    version: str
    addresses: tuple[str, ...]
    shape: Shape
    sums: str = ""
    sha256: str = ""
