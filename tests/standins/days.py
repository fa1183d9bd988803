"""A store with one model and a control, and days of a cell told in letters, each as it was probed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from monitor import verdicts
from monitor.domain import (
    Cell,
    Channel,
    Ending,
    Isolation,
    Model,
    ModelKind,
    Origin,
    Platform,
    Purpose,
    Runtime,
    Subject,
    SubjectForm,
)
from monitor.judge.checks import checks_of
from monitor.judge.confirm import RetryNeeded, Settled
from monitor.judge.days import Fingerprint
from monitor.store import EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord, Store
from monitor.wire.stream import read_events
from probes import wire

if TYPE_CHECKING:
    from monitor.verdicts import RunDetail

FIRST = date(2026, 4, 1)
LOCK = "torch==2.13.0 --hash=sha256:aa\n"
PLATFORM = Platform("3.11", "cpu", Isolation.CONTAINER)


class World:
    """A store with one model and a control, and a way to make each kind of run happen."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.count = 0
        self.environment = "env-a"
        self.resolved: dict[tuple[date, str, Origin], str] = {}  # what this start of the daemon has asked already
        self.vouched = True  # a control has worked wherever a cell fails
        self._vouched_for: set[tuple[date, Origin, Fingerprint]] = set()
        models, subjects = [], []
        for name, control in (("acme/new", False), ("acme/old", True)):
            models.append(Model(name, name, "newarch", ModelKind.DENSE, "acme", FIRST, "hub", control=control))
            subjects.append(
                Subject(name, name, SubjectForm.MINIATURE, "newarch", f"files-{name}", True, "5.5.0", control)
            )
        store.record_catalogue(models, subjects)
        self.cell = self.cell_of("acme/new")
        self.control = self.cell_of("acme/old")

    @staticmethod
    def cell_of(subject: str) -> Cell:
        return Cell(subject, Runtime.TRANSFORMERS, Channel.STABLE, PLATFORM)

    def resolve(self, day: date, environment: str = "env-a", **changes: Any) -> str:
        self.count += 1
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(seconds=self.count)
        record = EnvironmentRecord(
            environment, Runtime.TRANSFORMERS, "5.4.0", PLATFORM, "base", LOCK, {"torch": "2.13.0"}, at
        )
        one = ResolutionRecord(
            id=f"resolution-{self.count}",
            day=day,
            origin=changes.pop("origin", Origin.LIVE),
            runtime=Runtime.TRANSFORMERS,
            channel=Channel.STABLE,
            platform=PLATFORM,
            requested="transformers",
            version="5.4.0",
            cutoff=at,
            at=at,
            seconds=1.0,
            environment_digest=environment,
        )
        one = replace(one, **changes)
        self.store.record_resolution(one, record if one.failed is None else None)
        return one.id

    def run(self, letter: str, day: date, cell: Cell | None = None, **changes: Any) -> RunDetail:
        """Record one run that ends as the letter says."""
        cell = cell or self.cell
        if self.vouched and cell is self.cell and letter in "BHC":
            self._vouch(day, changes)
        fingerprint = changes.pop("fingerprint", self.fingerprint)
        origin = changes.get("origin", Origin.LIVE)
        asked = (day, fingerprint.environment, origin)
        if asked not in self.resolved:
            self.resolved[asked] = self.resolve(day, fingerprint.environment, origin=origin)
        resolution = self.resolved[asked]
        self.count += 1
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(seconds=self.count)
        solo = changes.pop("solo", False)
        factor = changes.pop("limit_factor", 1)
        session = f"session-{self.count}"
        self.store.begin_session(
            SessionRecord(
                session, resolution, fingerprint.environment, fingerprint.suite, "docker", solo, factor, {"wire": 1}, at
            )
        )
        ending = {
            "?": Ending(engine_fault="the engine went away"),
            "H": Ending(timed_out=True, seconds=60),
            "C": Ending(exit_code=139, signal=11),
        }.get(letter, Ending(exit_code=0))
        raw = changes.pop("events", events(cell.subject_id, letter, cell.runtime))
        record = RunRecord(
            cell=cell,
            resolution_id=resolution,
            session_id=session,
            day=day,
            origin=Origin.LIVE,
            purpose=Purpose.PROBE,
            version="5.4.0",
            fingerprint=fingerprint,
            solo=solo,
            limit_factor=factor,
            started_at=at,
            ending=ending,
            events=raw,
            session=read_events(raw, [cell.subject_id]),
        )
        detail = verdicts.record_run(self.store, replace(record, **changes))
        self.store.end_session(session, at, ending, log=b"hello from " + session.encode())
        return detail

    def _vouch(self, day: date, changes: dict[str, Any]) -> None:
        """Let the control work where a run is about to fail, once for each day and fingerprint."""
        same = {name: changes[name] for name in ("fingerprint", "origin") if name in changes}
        key = (day, same.get("origin", Origin.LIVE), same.get("fingerprint", self.fingerprint))
        if key not in self._vouched_for:
            self._vouched_for.add(key)
            self.run("W", day, self.control, **same)

    def decide(self, day: date, cell: Cell | None = None) -> Settled | RetryNeeded:
        return verdicts.decision(
            self.store, cell or self.cell, day, Origin.LIVE, fingerprint=self.fingerprint, version="5.4.0"
        )

    def settle(self, letter: str, day: date) -> None:
        """Run as often as the judge asks, each time with the same outcome."""
        while isinstance(again := self.decide(day), RetryNeeded):
            self.run(letter, day, solo=again.solo, limit_factor=again.limit_factor)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.environment, "suite-1", "files")

    def carry(self, days: list[date], resolution: str) -> int:
        fingerprints = {self.cell.id: self.fingerprint}
        return verdicts.carry(
            self.store, [self.cell], days, Origin.LIVE, resolution_id=resolution, fingerprints=fingerprints
        ).new_days

    def release(self) -> None:
        """Let the index give another lock from now on."""
        self.count += 1
        self.environment = f"env-{self.count}"

    def live(self, story: str) -> None:
        """Live through one day a letter; where another verdict is to come, something else is installed."""
        known = ""
        for offset, letter in enumerate(story):
            day = FIRST + timedelta(days=offset)
            if letter == "=":
                self.carry([day], self.resolve(day))
            elif letter != ".":
                if known and letter not in ("?", known):
                    self.release()
                known = known if letter == "?" else letter
                self.settle(letter, day)

    def story(self) -> str:
        days = {row["day"]: row for row in self.store.history(cell=self.cell.id)}
        if not days:
            return ""
        letters = {"works": "W", "broken": "B", "flaky": "F", "unknown": "?"}
        last = date.fromisoformat(max(days))
        every = [(FIRST + timedelta(days=n)).isoformat() for n in range((last - FIRST).days + 1)]
        return "".join(letters[days[day]["verdict"]] if day in days else "." for day in every)

    def flips(self) -> list[tuple[str, str, str]]:
        return [(one["day"], one["before"], one["after"]) for one in self.store.cells.detail(self.cell.id).flips]


def events(subject: str, letter: str, runtime: Runtime = Runtime.TRANSFORMERS) -> bytes:
    """Return what a probe writes: everything passes, or the loading fails, crashes or hangs."""
    lines: list[dict[str, Any]] = [
        {"event": "started", "subject": None, "check": "installs.imports"},
        {"event": "finished", "subject": None, "check": "installs.imports", "outcome": "passed", "seconds": 1.0},
        {
            "event": "session", "wire": wire.WIRE, "suite": "suite-1", "runtime": str(runtime), "version": "5.4.0",
            "python": "3.11.2",
        },
    ]  # fmt: skip
    if letter == "?":
        return b""
    of_reference = runtime is Runtime.TRANSFORMERS
    for check in checks_of(runtime):
        lines.append({"event": "started", "subject": subject, "check": check})
        if letter in "HC" and check == "generates.forward":
            break
        skipped = {"S": "generates.cache", "L": "knows.config"}.get(letter)
        failing = {
            "B": ("loads.tensors", "missing-tensors") if of_reference else ("loads.model", "load-error"),
            "U": ("loads.model", "unclassified"),
            "K": ("knows.architecture", "unknown-architecture"),
            "A": ("loads.model", "unknown-architecture"),
            "X": ("loads.tensors", "unexpected-tensors"),
        }.get(letter)
        finished = {"event": "finished", "subject": subject, "check": check, "outcome": "passed", "seconds": 0.1}
        if failing and failing[0] == check:
            finished |= {"outcome": "failed", "fault": failing[1], "message": "KeyError: 'lm_head.weight'"}
            lines.append(finished)
            break
        if check == skipped:
            finished |= {"outcome": "skipped", "message": "there is nothing to compare with"}
        lines.append(finished)
    lines.append({"event": "fact", "subject": subject, "name": "logprobs", "value": [1.5, 2]})
    return b"".join(json.dumps(line | {"at": float(n)}).encode() + b"\n" for n, line in enumerate(lines))
