"""The facts that go into the store, as frozen values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from containers.recipes import RECIPES
from monitor.domain import Ending, InstalledAsOf, Origin, Purpose

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date, datetime

    from monitor.domain import Cell, Channel, Platform, Runtime, SubjectForm
    from monitor.judge.days import Fingerprint
    from monitor.judge.observations import Session
    from monitor.judge.runs import Stage


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """A release on a platform with everything that was installed with it."""

    digest: str
    runtime: Runtime
    version: str
    platform: Platform
    base_digest: str
    lock: str
    packages: Mapping[str, str]
    created_at: datetime
    resolve_s: float = 0.0
    build_s: float = 0.0

    @property
    def pins(self) -> str:
        return imported_pins(self.packages, RECIPES[self.runtime].imported)


def imported_pins(packages: Mapping[str, str], imported: Collection[str]) -> str:
    """Return the pins that a probe imports as one text: equal texts are the same thing under test."""
    return " ".join(f"{name}=={packages[name]}" for name in sorted(imported) if name in packages)


def failed_environment(runtime: Runtime, requested: str, day: date, fault: str) -> str:
    """Name an environment that could not be made: equal requests that fail alike have one, so a second confirms."""
    alike = f"{runtime}\n{requested}\n{day}\n{fault}"
    return "none-" + hashlib.sha256(alike.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ResolutionRecord:
    """What an installer answered on a day: an environment, or the stage that failed and why."""

    id: str
    day: date
    origin: Origin
    runtime: Runtime
    channel: Channel
    platform: Platform
    requested: str
    version: str
    cutoff: datetime | None
    at: datetime
    seconds: float
    environment_digest: str = ""
    failed: Stage | None = None
    fault: str = ""
    message: str = ""
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class Departure:
    """A package of a past day's lock that was not available on that day, and why it is there."""

    package: str
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session of one or more subjects; ``request`` is the probe's input."""

    id: str
    resolution_id: str
    environment_digest: str
    suite: str
    engine: str
    solo: bool
    limit_factor: int
    request: Mapping[str, Any]
    started_at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One attempt to probe a cell. Without a session it stands for an installation that failed."""

    cell: Cell
    resolution_id: str
    session_id: str
    day: date
    origin: Origin
    purpose: Purpose
    version: str
    fingerprint: Fingerprint
    solo: bool
    started_at: datetime
    limit_factor: int = 1
    ending: Ending = field(default_factory=Ending)
    events: bytes = b""  # the raw lines behind ``session``
    session: Session | None = None  # what the events of this run's subject are, None without a session
    installed: InstalledAsOf = InstalledAsOf.RUN_DAY
    deep: bool = True

    @property
    def problem(self) -> str:
        """Why the events are not whole, "" when they are."""
        return self.session.subjects[self.cell.subject_id].spoiled if self.session else ""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run with everything that its checks are judged by, as it is stored."""

    id: str
    subject_id: str
    runtime: Runtime
    form: SubjectForm
    session_id: str
    solo: bool
    limit_factor: int
    ending: Ending
    events_digest: str
    problem: str
    failed: Stage | None
    fault: str
    message: str
    later: tuple[str, ...]  # packages that are from after the run's day
