"""Why an environment could not be made, read from uv's own words; pure."""

from __future__ import annotations

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


class Stage(StrEnum):
    """The step that failed; each is a check of rung 0."""

    RESOLVE = "resolve"
    INSTALL = "install"
    VERIFY = "verify"


class InstallFault(StrEnum):
    """The faults of the wire that an installation can have."""

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
    """``no_such_version``: a version that was asked for by hand does not exist (as of that day): the user's to mend.

    ``sources``: packages that have no wheel here and could be built, where the resolver names them.
    """

    stage: Stage
    slug: InstallFault
    message: str
    log: bytes
    seconds: float
    no_such_version: bool = False
    sources: tuple[str, ...] = ()


MESSAGE_CHARS = 2000
# In this order: a full disk or a dead connection is the cause, whatever uv was doing when it met it.
OURS = (
    (InstallFault.DISK, r"No space left on device|os error 28\b|Disk quota exceeded|File too large \(os error 27\)"),
    (InstallFault.MEMORY, r"Cannot allocate memory|os error 12\b|memory allocation of \d+ bytes failed|MemoryError"),
    (InstallFault.INDEX, r"Hash mismatch|HTTP status (server|client) error|end of file before message length"),
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
# What a build wants of the machine it runs on. The base has what the runtimes need and not what every package could
# want, so its lack is ours; a file that the sources themselves should hold is not matched.
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
# in the words of those that a build may call: git, curl, urllib, requests, pip
OUR_NETWORK = re.compile(
    r"Temporary failure in name resolution|Name or service not known|Could not resolve host|urlopen error"
    r"|Max retries exceeded|NewConnectionError|Read timed out|SSLError|CERTIFICATE_VERIFY_FAILED|Failed to connect to"
    r"|unable to access 'https?:|Connection (?:refused|reset|timed out)|ProxyError|HTTP Error (?:5\d\d|407|429)"
)
# uv says when what it left out was published; an index that tells no upload times has nothing before any cutoff
FILTERED = re.compile(r"was filtered by `exclude-newer(?:(?! was filtered by ).)*")


def from_execution(
    execution: Execution, stage: Stage, *, requirements: Sequence[str] = (), log: bytes | None = None
) -> InstallFailure:
    """Classify a command of uv that failed."""
    text = (execution.log if log is None else log).decode(errors="replace")
    message, slug, no_such_version = explanation(text), _ending(execution), False
    if slug is None:
        slug, no_such_version = classified(text, requirements=requirements)
    else:
        message = _ending_message(execution, slug)
    return InstallFailure(
        stage=stage,
        slug=slug,
        message=redacted(message)[:MESSAGE_CHARS],
        log=redacted(text).encode(),
        seconds=execution.seconds,
        no_such_version=no_such_version,
        sources=tuple(dict.fromkeys(found["name"] for found in SOURCES.finditer(" ".join(text.split())))),
    )


def from_build(execution: Execution) -> InstallFailure:
    """Classify a builder that failed: the package's doing only where its build says so, and lacks no tool of ours."""
    failure = from_execution(execution, Stage.INSTALL)
    if failure.slug is not InstallFault.RECIPE:
        return failure
    text = execution.log.decode(errors="replace")
    if OUR_NETWORK.search(text):
        return replace(failure, slug=InstallFault.NETWORK)
    if found := OUR_TOOLS.search(text):
        why = f"the builder lacks what this build wants ({' '.join(found[0].split())}): {failure.message}"
        return replace(failure, message=redacted(why)[:MESSAGE_CHARS])
    return replace(failure, slug=InstallFault.NOT_BUILT) if NOT_BUILT.search(text) else failure


def classified(text: str, *, requirements: Sequence[str] = ()) -> tuple[InstallFault, bool]:
    """Return the fault, and whether a version that was asked for does not exist.

    What nobody can explain is ours: a runtime is blamed only for what the resolver states.
    """
    text = " ".join(text.split())  # uv wraps its sentences on a terminal
    for slug, pattern in OURS:
        if re.search(pattern, text, re.IGNORECASE):
            return slug, False
    if "No solution found" not in text:
        return InstallFault.RECIPE, False
    if any("published at" not in found[0] for found in FILTERED.finditer(text)):
        return InstallFault.INDEX, False
    asked = _asked(requirements)
    if any(asked.get(canonicalize_name(found["name"])) == found["version"] for found in NO_VERSION.finditer(text)):
        return InstallFault.UNRESOLVABLE, True
    if NOT_FOUND.search(text):
        return InstallFault.INDEX, False  # what was published names it, so an index without it is not the whole one
    return (InstallFault.NO_WHEEL if NO_WHEEL.search(text) else InstallFault.UNRESOLVABLE), False


def explanation(text: str) -> str:
    """Cut the sentence that says why out of uv's output: from its first error on, without the markup."""
    lines = [
        re.sub(r"^\s*(?:[\u00d7\u2502\u251c\u2570\u2500\u25b6]+\s*|cause:\s*)", "", line).strip()
        for line in text.splitlines()
    ]
    start = next((i for i, line in enumerate(lines) if re.match(r"error\b|No solution found", line)), None)
    kept = [line.removeprefix("error: ") for line in (lines[-5:] if start is None else lines[start:]) if line]
    return " ".join(kept) or "no output"


def _asked(requirements: Iterable[str]) -> dict[str, str]:
    asked: dict[str, str] = {}
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        exact = [specifier.version for specifier in requirement.specifier if specifier.operator in {"==", "==="}]
        asked[canonicalize_name(requirement.name)] = exact[0] if exact else ""
    return asked


def _ending(execution: Execution) -> InstallFault | None:
    if execution.engine_fault:
        return InstallFault.ENGINE
    if execution.timed_out:
        return InstallFault.TIME
    return InstallFault.MEMORY if execution.out_of_memory else None


def _ending_message(execution: Execution, slug: InstallFault) -> str:
    if slug is InstallFault.ENGINE:
        return execution.engine_fault
    if slug is InstallFault.TIME:
        return f"not done after {execution.seconds:.0f} s"
    return "the installer ran out of the memory it was given"
