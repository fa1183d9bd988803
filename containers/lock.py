"""A lock: everything an environment holds, pinned with hashes, on a base; pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from operator import attrgetter
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
SOURCES = "sources/"  # before the name of a distribution: its source archive, to be read and not built


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
    address: str  # that it came from; a mirror's file of the same hash is the same artefact
    sha256: str

    @property
    def place(self) -> str:
        """Return the folder of the environment to unpack it in: sources in their own, anything else as a part of it."""
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
        """Return all pinned versions, by name."""
        packages = {pin.name: pin.version for pin in self.packages}
        return packages | {artefact.name: artefact.version for artefact in self.artefacts}

    @property
    def requirements(self) -> str:
        """Return the packages without the artefacts, as an installer of packages reads them."""
        return _lines(self.packages)

    @property
    def exact_requirements(self) -> str:
        """Return the packages for an installer that must take no other build: to it 2.13.0+cpu is also ==2.13.0."""
        return "".join(f"{str(pin).replace('==', '===', 1)}\n" if not pin.url else f"{pin}\n" for pin in self.packages)

    def pin(self, name: str) -> Pin | None:
        wanted = canonicalize_name(name)
        return next((pin for pin in self.packages if pin.name == wanted), None)

    def with_artefact(self, artefact: Artefact) -> Lock:
        return parse_lock(f"{self.text}{artefact}\n", base_digest=self.base_digest)


class MalformedLock(ValueError):
    """A text that is no lock; names the malformed line."""


def parse_lock(text: str, *, base_digest: str) -> Lock:
    """Read the output of ``uv pip compile --generate-hashes``; order, comments and credentials do not matter."""
    joined = re.sub(r"\\\s*\n", " ", redacted(text))
    lines = [line for raw in joined.splitlines() if (line := re.sub(r"(^|\s)#.*", "", raw).strip())]
    matches = {line: ARTEFACT.fullmatch(line) for line in lines}
    pins = tuple(sorted((_pin(line) for line, match in matches.items() if not match), key=attrgetter("name")))
    fetched = (Artefact(**match.groupdict()) for match in matches.values() if match)
    artefacts = tuple(sorted(fetched, key=attrgetter("name")))
    # the address of an artefact is recorded, but it is no part of its identity
    contents = [
        f"artefact {artefact.name}=={artefact.version} --hash=sha256:{artefact.sha256}" for artefact in artefacts
    ]
    digest = hashlib.sha256(f"{base_digest}\n{_lines((*pins, *contents))}".encode()).hexdigest()
    return Lock(_lines((*pins, *artefacts)), pins, base_digest, digest, artefacts)


def redacted(text: str) -> str:
    """Remove user names, passwords and tokens from every address in a text."""
    return CREDENTIALS.sub(r"\g<scheme>", text)


def _lines(entries: Iterable[object]) -> str:
    return "".join(f"{entry}\n" for entry in entries)


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
