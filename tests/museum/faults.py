"""The faults of the museum as values, what is wrong with their file, and what a run says of each."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from monitor.domain import Blame, Rung
from probes.catalogue import meanings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = Path(__file__).with_name("faults.toml")
RUNTIMES = frozenset(("transformers", "peft", "vllm", "llama.cpp"))
# kinds of checks that are missing today
KINDS = frozenset(
    (
        "heard-key",
        "equal-ways",
        "files-across-releases",
        "tokenizer",
        "template",
        "taught",
        "published-form",
        "images",
        "embeddings",
        "independent-witness",
    )
)
WAYS = frozenset(("product", "checks", "history", "by hand"))  # in which a release was looked at
_VERSIONS = ("before", "first_bad", "asked_from", "last_bad", "first_good")


@dataclass(frozen=True)
class Fault:
    id: str
    thread: str
    runtime: str
    before: str
    first_bad: str
    last_bad: str
    first_good: str
    architectures: list[str]
    rung: str
    check: str
    fault: str
    blame: str
    what: str
    exercise: str
    asked_from: str = ""
    model: str = ""
    config: str = ""
    release: str = ""  # of transformers, that makes the weights
    tokenizer: dict[str, Any] = field(default_factory=dict)
    needs: str = ""
    shows: bool = True
    why: str = ""
    known: bool = False
    proof: str = "source"
    also_red: dict[str, list[str]] = field(default_factory=dict)  # by release, for other causes
    seen: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.id

    @property
    def counts(self) -> bool:
        """Return whether the checks of today are held to it."""
        return self.shows and not self.needs

    @property
    def bad(self) -> list[str]:
        return list(dict.fromkeys((self.asked_from or self.first_bad, self.last_bad)))

    @property
    def good(self) -> list[str]:
        return [version for version in (self.before, self.first_good) if version]

    @property
    def asked(self) -> list[str]:
        """Return the releases around both boundaries, the good ones first: a miniature that has passed is not ours."""
        return [*self.good, *self.bad]


@dataclass(frozen=True)
class Sighting:
    """What one release gave: the verdict, its rung and blame, and the failed checks with their faults."""

    verdict: str
    rung: str = ""
    blame: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    fault: Fault
    sightings: Mapping[str, Sighting]  # by release

    def red(self, version: str) -> bool:
        """Return whether the expected check fails in this release, with the expected fault where one is named."""
        fault = self.sightings[version].failed.get(self.fault.check)
        return fault is not None and self.fault.fault in {"", fault}

    @property
    def caught(self) -> bool:
        return any(self.red(version) for version in self.fault.bad)

    @property
    def right_releases(self) -> bool:
        return all(map(self.red, self.fault.bad)) and not any(map(self.red, self.fault.good))

    @property
    def right_rung(self) -> bool:
        return all(self.sightings[version].rung == self.fault.rung for version in self.fault.bad)

    @property
    def right_blame(self) -> bool:
        return all(self.sightings[version].blame == self.fault.blame for version in self.fault.bad)

    @property
    def false_reds(self) -> list[str]:
        """Return the checks that fail in the good releases, for no cause that is written down."""
        return [
            f"{version}: {name}"
            for version in self.fault.good
            for name in self.sightings[version].failed
            if name not in self.fault.also_red.get(version, [])
        ]


def load_faults() -> list[Fault]:
    return [Fault(**entry) for entry in tomllib.loads(FILE.read_text(encoding="utf-8"))["fault"]]


def flaws(fault: Fault) -> Iterator[str]:
    """Yield what is wrong with an entry."""
    address = urlsplit(fault.thread)
    if address.scheme != "https" or not address.netloc or not address.path.strip("/"):
        yield f"{fault.thread} is no address of a thread"
    for name in ("id", "first_bad", "last_bad", "architectures", "what", "exercise", "rung", "blame"):
        if not getattr(fault, name):
            yield f"{name} is empty"
    yield from _unknown_words(fault)
    yield from _flaws_of_versions(fault)
    yield from _contradictions(fault)


def _unknown_words(fault: Fault) -> Iterator[str]:
    known = {
        "runtime": RUNTIMES,
        "proof": {"source", "thread"},
        "rung": set(map(str, Rung)),
        "blame": set(Blame),
        "needs": {"", *KINDS},
        "check": {""} if fault.needs else meanings(),
    }
    for name, values in known.items():
        if getattr(fault, name) not in values:
            yield f"{name} is {getattr(fault, name)!r}, which is unknown here"


def _contradictions(fault: Fault) -> Iterator[str]:
    if fault.seen and (fault.seen["by"] not in WAYS or not fault.seen["releases"] or not fault.seen["on"]):
        yield "what was seen has no day, way or release"
    if bool(fault.why) == fault.shows:
        yield "a reason stands where, and only where, it cannot be shown"
    if fault.proof == "thread" and fault.shows:
        yield "nothing is shown that was not read in the releases"
    if fault.counts and bool(fault.model) == bool(fault.config):
        yield "it is shown by a model of the catalogue or by a configuration"
    if fault.config and json.loads(fault.config).get("model_type") not in fault.architectures:
        yield "the configuration is of another architecture"


def _flaws_of_versions(fault: Fault) -> Iterator[str]:
    versions = [getattr(fault, name).removeprefix("b") for name in _VERSIONS if getattr(fault, name)]
    try:
        parsed = [Version(version) for version in versions]
    except InvalidVersion as error:
        yield str(error)
        return
    if parsed != sorted(parsed):
        yield f"{', '.join(versions)} are out of order"
