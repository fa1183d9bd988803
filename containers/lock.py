"""A lock: everything an environment holds, pinned with hashes, on a base; pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

# up to the last @ before the path: a password may hold one
CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s?#]+@", re.IGNORECASE)
HASH = re.compile(r"--hash[= ](\S+)")
ARTEFACT = re.compile(
    r"artefact (?P<name>\S+)==(?P<version>\S+) @ (?P<address>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})"
)
SOURCES = "sources/"  # before the name of a distribution: its source archive, to be read and not to be built


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock; ``url`` in place of a version for what is required by address."""

    name: str
    version: str
    hashes: tuple[str, ...]
    url: str = ""

    def __str__(self) -> str:
        head = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return " \\\n    ".join([head, *(f"--hash={value}" for value in self.hashes)])


@dataclass(frozen=True, slots=True)
class Artefact:
    """A release that is no Python package: an archive, unpacked beside the packages."""

    name: str
    version: str
    address: str  # where it was found; a mirror's file of the same hash is the same artefact
    sha256: str

    @property
    def place(self) -> str:
        """Return where in the environment it is unpacked: sources beside it, anything else as a part of it."""
        return f"share/{self.name}" if self.name.startswith(SOURCES) else "."

    def __str__(self) -> str:
        return f"artefact {self.name}=={self.version} @ {self.address} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Lock:
    """``digest`` names the environment: equal packages on an equal base are the same environment."""

    text: str
    packages: tuple[Pin, ...]
    base_digest: str
    digest: str
    artefacts: tuple[Artefact, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Return everything that is pinned, by name."""
        artefacts = {one.name: one.version for one in self.artefacts}
        return {pin.name: pin.version for pin in self.packages} | artefacts

    @property
    def requirements(self) -> str:
        """Return what an installer of packages reads: it knows nothing of artefacts."""
        return _lines(self.packages)

    def pin(self, name: str) -> Pin | None:
        wanted = canonicalize_name(name)
        return next((pin for pin in self.packages if pin.name == wanted), None)

    def beside(self, artefact: Artefact) -> Lock:
        """Return the lock that holds an artefact, too."""
        return parse_lock(f"{self.text}{artefact}\n", base_digest=self.base_digest)


class MalformedLock(ValueError):
    """A text that is no lock, with the line that says so."""


def parse_lock(text: str, *, base_digest: str) -> Lock:
    """Read what ``uv pip compile --generate-hashes`` wrote; order, comments and credentials leave no trace."""
    joined = re.sub(r"\\\s*\n", " ", redacted(text))
    lines = [line for raw in joined.splitlines() if (line := re.sub(r"(^|\s)#.*", "", raw).strip())]
    found = {line: ARTEFACT.fullmatch(line) for line in lines}
    pins = tuple(sorted((_pin(line) for line in lines if not found[line]), key=lambda pin: pin.name))
    artefacts = tuple(sorted((Artefact(**one.groupdict()) for one in found.values() if one), key=lambda one: one.name))
    # where an artefact was fetched from is told and is no part of what it is
    named = [f"artefact {one.name}=={one.version} --hash=sha256:{one.sha256}" for one in artefacts]
    digest = hashlib.sha256(f"{base_digest}\n{_lines((*pins, *named))}".encode()).hexdigest()
    return Lock(_lines((*pins, *artefacts)), pins, base_digest, digest, artefacts)


def redacted(text: str) -> str:
    """Remove user names, passwords and tokens from every address in a text."""
    return CREDENTIALS.sub(r"\g<scheme>", text)


def _lines(entries: Iterable[object]) -> str:
    return "".join(f"{one}\n" for one in entries)


def _pin(line: str) -> Pin:
    hashes = tuple(sorted(HASH.findall(line)))
    try:
        requirement = Requirement(HASH.sub("", line).strip())
    except ValueError as error:
        raise MalformedLock(f"not a pinned requirement: {line[:200]!r}") from error
    name = canonicalize_name(requirement.name)
    if requirement.url:
        return Pin(name, "", hashes, requirement.url)
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator not in {"==", "==="} or not hashes:
        raise MalformedLock(f"not pinned to one version with hashes: {line[:200]!r}")
    return Pin(name, specifiers[0].version, hashes)
