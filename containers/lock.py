"""A lock: everything an environment holds, pinned with hashes, on a base; pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# up to the last @ before the path: a password may hold one
CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s?#]+@", re.IGNORECASE)
HASH = re.compile(r"--hash[= ](\S+)")


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
class Lock:
    """``digest`` names the environment: equal packages on an equal base are the same environment."""

    text: str
    packages: tuple[Pin, ...]
    base_digest: str
    digest: str

    def pin(self, name: str) -> Pin | None:
        wanted = canonicalize_name(name)
        return next((pin for pin in self.packages if pin.name == wanted), None)


class MalformedLock(ValueError):
    """A text that is no lock, with the line that says so."""


def parse_lock(text: str, *, base_digest: str) -> Lock:
    """Read what ``uv pip compile --generate-hashes`` wrote; order, comments and credentials leave no trace."""
    joined = re.sub(r"\\\s*\n", " ", redacted(text))
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    pins = tuple(sorted((_pin(line) for line in lines if line), key=lambda pin: pin.name))
    normal = "".join(f"{pin}\n" for pin in pins)
    digest = hashlib.sha256(f"{base_digest}\n{normal}".encode()).hexdigest()
    return Lock(text=normal, packages=pins, base_digest=base_digest, digest=digest)


def redacted(text: str) -> str:
    """Remove user names, passwords and tokens from every address in a text."""
    return CREDENTIALS.sub(r"\g<scheme>", text)


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
