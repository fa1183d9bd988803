"""Why an environment could not be made, read from uv's output; pure."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from containers.lock import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from containers.engine import Execution


class InstallStage(StrEnum):
    """The step that failed; each step is a check of rung 0."""

    RESOLVE = "resolve"
    INSTALL = "install"
    VERIFY = "verify"


class InstallFault(StrEnum):
    """The fault slugs of the wire that an installation can have."""

    UNRESOLVABLE = "unresolvable"
    NO_WHEEL = "no-wheel"
    NOT_BUILT = "dependency-does-not-build"
    RUNTIME_NOT_BUILT = "does-not-build"
    INCONSISTENT = "inconsistent"
    INDEX = "infra-index"
    NETWORK = "infra-network"
    DISK = "infra-disk"
    TIME = "infra-time"
    MEMORY = "infra-memory"
    ENGINE = "infra-engine"
    RECIPE = "infra-recipe"


@dataclass(frozen=True, slots=True)
class InstallFailure:
    """``no_such_version``: the version that the user named does not exist (as of that day).

    ``sources``: packages that have no wheel here and could be built, where the resolver names them.
    """

    stage: InstallStage
    slug: InstallFault
    message: str
    log: bytes
    seconds: float
    no_such_version: bool = False
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, execution: Execution, stage: InstallStage, slug: InstallFault, message: str) -> InstallFailure:
        """Return the failure of a command, without credentials."""
        return cls(stage, slug, redacted(message)[:MESSAGE_CHARS], redacted_log(execution), execution.seconds)


def redacted_log(execution: Execution) -> bytes:
    return redacted(execution.text).encode()


MESSAGE_CHARS = 2000
# In this order: a full disk or a dead connection is the cause, whatever uv was doing at that moment.
OURS = (
    (InstallFault.DISK, r"No space left on device|os error 28\b|Disk quota exceeded|File too large \(os error 27\)"),
    (InstallFault.MEMORY, r"Cannot allocate memory|os error 12\b|memory allocation of \d+ bytes failed|MemoryError"),
    (
        InstallFault.INDEX,
        r"Hash mismatch|HTTP status (server|client) error|end of file before message length|authentication credentials",
    ),
    (
        InstallFault.NETWORK,
        (
            r"dns error|error resolving DNS|tcp connect error|Connection (refused|reset)|Network is unreachable"
            r"|operation timed out|request timed out|connection closed|broken pipe|invalid peer certificate"
            r"|UnknownIssuer|network connectivity is disabled"
        ),
    ),
    (InstallFault.INDEX, r"error decoding response body|request or response body error|Failed to extract archive"),
    (InstallFault.NETWORK, r"Request failed after \d+ retries|error sending request|client error \(Connect\)"),
)
NO_WHEEL = re.compile(r"has? no (usable )?wheels|have no (usable )?wheels|has no wheels with|no wheels with a matching")
SOURCES = re.compile(r"Wheels are required for `(?P<name>[A-Za-z0-9._-]+)` because building from source is disabled")
NO_VERSION = re.compile(r"there (?:is|are) no versions? of (?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s,]+)")
NOT_FOUND = re.compile(r"was not found in the (?:package registry|provided package locations)")
NOT_BUILT = re.compile(r"The build backend returned an error|Failed to build `|the build gave")
# What a build needs of the machine. The base has what the runtimes need and not what every package could need, so a
# missing tool is our fault; a file that the sources themselves should hold is not matched.
_TOOLS = (
    r"(?:[a-z0-9_-]*-)?(?:gcc|g\+\+|cc|c\+\+|clang(?:\+\+)?|ld|ar|gfortran)|cmake|ninja|make|meson|rustc|cargo|maturin|nvcc"
    r"|hipcc|swig|pkg-config|protoc|git|go|node|npm|bazel|autoconf|llvm-config"
)
OUR_TOOLS = re.compile(
    rf"(?:No such file or directory|not found|not find|unable to execute|not installed)\W+(?:\S*/)?(?:{_TOOLS})\b"
    rf"|(?<![\w.])(?:{_TOOLS})['\"`]?(?: failed)?: (?:command )?(?:not found|No such file)"
    r"|[Nn]o CMAKE_\w+ could be found|can't find Rust compiler|requires? (?:a )?(?:Rust|C\+*|CUDA)\b.{0,40}compiler"
    r"|compiler .{0,60}not (?:found|installed)|fatal error: [\w/.+-]+: No such file|cannot find -l\w+"
    r"|Could NOT find \w+|CUDA_HOME|No package '[^']+' found|Could not find a package configuration file",
)
# the messages of programs that a build may call: git, curl, urllib, requests, pip
OUR_NETWORK = re.compile(
    r"Temporary failure in name resolution|Name or service not known|Could not resolve host|urlopen error"
    r"|Max retries exceeded|NewConnectionError|Read timed out|SSLError|CERTIFICATE_VERIFY_FAILED|Failed to connect to"
    r"|unable to access 'https?:|Connection (?:refused|reset|timed out)|ProxyError|HTTP Error (?:5\d\d|407|429)"
)
# uv writes when a file it left out was published; an index without upload times has nothing before any cutoff
FILTERED = re.compile(r"was filtered by `exclude-newer(?:(?! was filtered by ).)*")


def from_execution(execution: Execution, stage: InstallStage, *, requirements: Sequence[str] = ()) -> InstallFailure:
    """Classify a command of uv that failed."""
    no_such_version = False
    if execution.engine_fault:
        slug, message = InstallFault.ENGINE, execution.engine_fault
    elif execution.timed_out:
        slug, message = InstallFault.TIME, f"not done after {execution.seconds:.0f} s"
    elif execution.out_of_memory:
        slug, message = InstallFault.MEMORY, "the installer exceeded its memory limit"
    else:
        message = explanation(execution.text)
        slug, no_such_version = classified(execution.text, requirements=requirements)
    names = (match["name"] for match in SOURCES.finditer(" ".join(execution.text.split())))
    failure = InstallFailure.of(execution, stage, slug, message)
    return replace(failure, no_such_version=no_such_version, sources=tuple(dict.fromkeys(names)))


def from_build(execution: Execution) -> InstallFailure:
    """Classify a builder that failed: the fault is the package's only where its build fails without a missing tool."""
    failure = from_execution(execution, InstallStage.INSTALL)
    if failure.slug is not InstallFault.RECIPE:
        return failure
    if OUR_NETWORK.search(execution.text):
        return replace(failure, slug=InstallFault.NETWORK)
    if missing := OUR_TOOLS.search(execution.text):
        message = f"the builder lacks what this build needs ({' '.join(missing[0].split())}): {failure.message}"
        return replace(failure, message=redacted(message)[:MESSAGE_CHARS])
    return replace(failure, slug=InstallFault.NOT_BUILT) if NOT_BUILT.search(execution.text) else failure


def classified(text: str, *, requirements: Sequence[str] = ()) -> tuple[InstallFault, bool]:
    """Return the fault, and whether a requested version does not exist.

    An unknown failure is a fault of ours: a runtime is blamed only for what the resolver states.
    """
    text = " ".join(text.split())  # uv wraps its sentences on a terminal
    for slug, pattern in OURS:
        if re.search(pattern, text, re.IGNORECASE):
            return slug, False
    if "No solution found" not in text:
        return InstallFault.RECIPE, False
    if any("published at" not in match[0] for match in FILTERED.finditer(text)):
        return InstallFault.INDEX, False
    exact = _exact_versions(requirements)
    if any(exact.get(canonicalize_name(match["name"])) == match["version"] for match in NO_VERSION.finditer(text)):
        return InstallFault.UNRESOLVABLE, True
    if NOT_FOUND.search(text):
        return InstallFault.INDEX, False  # a published package names it, so an index without it is not complete
    return (InstallFault.NO_WHEEL if NO_WHEEL.search(text) else InstallFault.UNRESOLVABLE), False


def explanation(text: str) -> str:
    """Return the sentence with the reason in uv's output: from its first error on, without the markup."""
    lines = [
        re.sub(r"^\s*(?:[\u00d7\u2502\u251c\u2570\u2500\u25b6]+\s*|cause:\s*)", "", line).strip()
        for line in text.splitlines()
    ]
    start = next((i for i, line in enumerate(lines) if re.match(r"error\b|No solution found", line)), None)
    kept = [line.removeprefix("error: ") for line in (lines[-5:] if start is None else lines[start:]) if line]
    return " ".join(kept) or "no output"


def _exact_versions(requirements: Iterable[str]) -> dict[str, str]:
    """Return the version that each requirement pins, by name; "" where it pins none."""
    versions: dict[str, str] = {}
    for text in requirements:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(text)
            exact = (specifier.version for specifier in requirement.specifier if specifier.operator in {"==", "==="})
            versions[canonicalize_name(requirement.name)] = next(exact, "")
    return versions
