"""Lives through a year of daily measuring in a real store: every run is recorded as the probes would write it."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

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
from monitor.judge.confirm import RetryNeeded
from monitor.judge.days import Fingerprint
from monitor.store import EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord
from monitor.wire.stream import read_events
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.store import Store

BEGUN = date(2025, 12, 1)
PLATFORM = Platform("3.11", "cpu", Isolation.CONTAINER)
CONTROL = "settle/control"
ORGANISATIONS = ("Acme", "Borealis", "Cedar Labs", "Delphi", "Eos", "Fjord", "Ganges", "Hokusai", "Iberia", "Juniper")
TYPICAL_DELAY = {"transformers": 2, "peft": 6, "vllm": 9, "xllamacpp": 20, "llama-cpp-python": 26, "ollama": 24}
NEVER, BREAKS, MENDS, BREAKS_MANY = 0.06, 0.03, 0.6, 0.08
FLAKY, OURS = 0.01, 0.015
PACKAGES = 60  # in a lock
MOST_RUNS = 6  # of a cell on one day

REAL = "Qwen/Qwen3-8B"  # one of the catalogue's, whose files there are

# ids and words as a stranger might publish them; each has broken some page somewhere
HOSTILE = (
    "<script>alert('id')</script>/<img src=x onerror=alert(1)>",
    "../../../etc/passwd",
    "index.html/status",
    "status",
    "long/" + "n" * 180,
    "right-to-left/\N{RIGHT-TO-LEFT OVERRIDE}exe.gnp\N{POP DIRECTIONAL FORMATTING}",
    "control/\x1b[31mred\x07\x9b",
    'quote"/ onmouseover="alert(1)',
    "{{7*7}}/${7*7}",
    "C:\\windows/..\\..\\x",
)
HOSTILE_WORDS = (
    "</pre></td><script>alert('log')</script><style>*{display:none}</style> \N{RIGHT-TO-LEFT OVERRIDE}txet "
    "&lt;b&gt; ]]> --> {{ config }} " + "w" * 3000
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a probe writes where it fails: the rung is that of the first check of the runtime that begins so."""

    begins: str
    fault: str
    message: str


@dataclass(slots=True)
class _Line:
    """One cell with what will really come to pass."""

    cell: Cell
    arrives: date
    supported: float  # days after its arrival
    failing: Failure | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and when runs happen."""

    environment: EnvironmentRecord
    resolution: str
    session: str
    day: date


@dataclass(slots=True)
class Year:
    """``live`` makes the whole of it; the same seed makes the same year."""

    store: Store
    models: int = 200
    days: int = 365
    every: int = 21  # days between two releases of one runtime, on average
    runtimes: Sequence[Runtime] = tuple(Runtime)
    seed: int = 0
    runs: int = 0
    _count: int = 0
    _rng: random.Random = field(default_factory=random.Random)

    def live(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - a simulation's
        models = list(self._models())
        control = Model(CONTROL, "Control", "llama", ModelKind.DENSE, "", None, "", control=True)
        self.store.record_catalogue(
            [control, *models],
            [
                Subject(one.id, one.id, SubjectForm.MINIATURE, one.architecture, _files(one.id), True, "", one.control)
                for one in (control, *models)
            ],
        )
        for runtime in self.runtimes:
            self._live_with(runtime, models)

    def _models(self) -> Iterator[Model]:
        for at in range(self.models):
            organisation = self._rng.choice(ORGANISATIONS)
            name = f"{organisation.split()[0].lower()}/{organisation.split()[0]}-{1 + at // 40}.{at % 40}-{3 + at % 7}B"
            released = BEGUN + timedelta(days=int(self._rng.random() * self.days * 0.9))
            yield Model(
                (*HOSTILE, REAL)[at] if at <= len(HOSTILE) else name,
                f"{organisation} {1 + at // 40}",
                f"arch{at % 60}",
                self._rng.choice(list(ModelKind)),
                "<b>Evil & Sons</b>" if at < len(HOSTILE) else organisation,
                released,
                "hub: first public commit with weights",
            )

    def _live_with(self, runtime: Runtime, models: Sequence[Model]) -> None:
        rng = self._rng
        delays = {f"arch{at}": TYPICAL_DELAY[runtime] * math.exp(rng.gauss(0, 0.8)) for at in range(60)}
        lines = [
            _Line(
                Cell(one.id, runtime, Channel.STABLE, PLATFORM),
                one.released or BEGUN,
                math.inf if rng.random() < NEVER else delays[one.architecture] * math.exp(rng.gauss(0, 0.3)),
                _unknown(one.architecture),
            )
            for one in models
        ]
        first = BEGUN
        number = 0
        while first < BEGUN + timedelta(days=self.days):
            last = min(
                first + timedelta(days=1 + int(rng.expovariate(1 / self.every))), BEGUN + timedelta(days=self.days)
            )
            self._release(runtime, f"{1 + number // 10}.{number % 10}.0", lines, first, last)
            first, number = last, number + 1

    def _release(self, runtime: Runtime, version: str, lines: Sequence[_Line], first: date, last: date) -> None:
        """Measure what is there on the release's first day and what arrives later, and carry it until the next."""
        rng = self._rng
        environment = self._environment(runtime, version, first)
        many = (
            Failure("loads.", "load-error", f"ImportError: cannot import name 'seam_{version}' from '{runtime}'")
            if rng.random() < BREAKS_MANY
            else None
        )
        for line in lines:
            self._come_to_pass(line, first, many)
        by_day: dict[date, list[_Line]] = {}
        for line in lines:
            if line.arrives < last:
                by_day.setdefault(max(line.arrives, first), []).append(line)
        for day, arrived in sorted(by_day.items()):
            resolution = self._resolve(runtime, version, environment, day)
            session = self._session(resolution, environment, runtime, day, arrived)
            place = _Place(environment, resolution, session, day)
            self._record(_Line(_control(runtime), day, 0, None), place)
            for line in arrived:
                self._settle(line, place)
            days = [day + timedelta(days=ahead) for ahead in range(1, (last - day).days)]
            if days:
                verdicts.carry(
                    self.store,
                    [line.cell for line in arrived],
                    days,
                    Origin.LIVE,
                    resolution_id=resolution,
                    fingerprints={line.cell.id: _fingerprint(line.cell, environment) for line in arrived},
                )

    def _come_to_pass(self, line: _Line, day: date, many: Failure | None) -> None:
        rng = self._rng
        if (day - line.arrives).days < line.supported:
            return
        if line.failing is None:
            if many and rng.random() < 0.4:
                line.failing = many
            elif rng.random() < BREAKS:
                line.failing = _broken(rng, day)
        elif line.failing.fault == "unknown-architecture" or rng.random() < MENDS:
            line.failing = None

    def _settle(self, line: _Line, place: _Place) -> None:
        """Run as often as the store asks for."""
        chance = self._rng.random()
        kind = "flaky" if chance < FLAKY and line.failing is None else "ours" if chance > 1 - OURS else ""
        self._record(line, place, kind, failing=kind == "flaky")
        fingerprint, version = _fingerprint(line.cell, place.environment), place.environment.version
        for attempt in range(MOST_RUNS):
            again = verdicts.decision(
                self.store, line.cell, place.day, Origin.LIVE, fingerprint=fingerprint, version=version
            )
            if not isinstance(again, RetryNeeded) or kind == "ours":
                return
            session = self._session(
                place.resolution, place.environment, line.cell.runtime, place.day, [line], solo=again.solo
            )
            there = replace(place, session=session)
            self._record(line, there, kind, solo=again.solo, failing=kind == "flaky" and attempt % 2 == 0)

    def _record(self, line: _Line, place: _Place, kind: str = "", *, solo: bool = False, failing: bool = False) -> None:
        failure = Failure("generates.", "cache-differs", "differs now and then") if failing else line.failing
        self.runs += 1
        raw = b"" if kind == "ours" else events(line.cell, place.environment.version, failure)
        verdicts.record_run(
            self.store,
            RunRecord(
                cell=line.cell,
                resolution_id=place.resolution,
                session_id=place.session,
                day=place.day,
                origin=Origin.LIVE,
                purpose=Purpose.CONFIRM if solo else Purpose.PROBE,
                version=place.environment.version,
                fingerprint=_fingerprint(line.cell, place.environment),
                solo=solo,
                started_at=self._now(place.day),
                ending=Ending(engine_fault="the engine went away") if kind == "ours" else Ending(exit_code=0),
                events=raw,
                session=read_events(raw, [line.cell.subject_id]),
            ),
        )

    def _environment(self, runtime: Runtime, version: str, day: date) -> EnvironmentRecord:
        stem = str(self._rng.getrandbits(40))
        packages = {
            f"package-{at:02}": f"{self._rng.randint(0, 2)}.{self._rng.randint(0, 9)}" for at in range(PACKAGES)
        }
        packages |= {str(runtime): version, "torch": f"2.{10 + day.month // 4}.0"}
        hashes = " ".join(f"--hash=sha256:{self._rng.getrandbits(256):064x}" for _ in range(3))
        lock = "\n".join(f"{name}=={pin} {hashes}" for name, pin in sorted(packages.items()))
        return EnvironmentRecord(
            f"{runtime}-{version}-{stem}", runtime, version, PLATFORM, "base", lock, packages, self._now(day)
        )

    def _resolve(self, runtime: Runtime, version: str, environment: EnvironmentRecord, day: date) -> str:
        at = self._now(day)
        one = ResolutionRecord(
            id=f"{runtime}-{version}-{day}",
            day=day,
            origin=Origin.LIVE,
            runtime=runtime,
            channel=Channel.STABLE,
            platform=PLATFORM,
            requested="",
            version=version,
            cutoff=at,
            at=at,
            seconds=1.0,
            environment_digest=environment.digest,
        )
        self.store.record_resolution(one, environment)
        return one.id

    def _session(
        self, resolution: str, environment: EnvironmentRecord, runtime: Runtime, day: date, lines: Sequence[_Line],
        *, solo: bool = False,
    ) -> str:  # fmt: skip
        at = self._now(day)
        session = f"{resolution}-{self._count}"
        request = {
            "wire": wire.WIRE,
            "runtime": str(runtime),
            "subjects": [{"id": line.cell.subject_id} for line in lines],
        }
        self.store.begin_session(
            SessionRecord(session, resolution, environment.digest, "suite", "docker", solo, 1, request, at)
        )
        log = "".join(f"=== subject {line.cell.subject_id} ===\nloading\n{HOSTILE_WORDS}\n" for line in lines)
        self.store.end_session(session, at, Ending(exit_code=0), log=f"importing {runtime}\n{log}".encode())
        return session

    def _now(self, day: date) -> datetime:
        self._count += 1
        return datetime.combine(day, datetime.min.time(), UTC) + timedelta(milliseconds=self._count)


def events(cell: Cell, version: str, failing: Failure | None) -> bytes:
    """Return what a probe writes of one subject: every check passes, or those after the failing one are not reached."""
    subject = cell.subject_id
    lines: list[dict[str, object]] = [
        {"event": "started", "subject": None, "check": "installs.imports"},
        {"event": "finished", "subject": None, "check": "installs.imports", "outcome": "passed", "seconds": 3.2},
        {
            "event": "session", "wire": wire.WIRE, "suite": "suite", "runtime": str(cell.runtime), "version": version,
            "python": "3.11.2",
        },
    ]  # fmt: skip
    checks = checks_of(cell.runtime)
    fails = next((check for check in checks if failing and check.startswith(failing.begins)), "")
    for check in checks:
        lines.append({"event": "started", "subject": subject, "check": check})
        finished = {"event": "finished", "subject": subject, "check": check, "outcome": "passed", "seconds": 0.1}
        if failing and check == fails:
            finished |= {
                "outcome": "failed", "fault": failing.fault, "message": failing.message,
                "evidence": {"said": failing.message},
            }  # fmt: skip
            lines.append(finished)
            break
        lines.append(finished)
    return b"".join(json.dumps(line | {"at": float(at)}).encode() + b"\n" for at, line in enumerate(lines))


def _unknown(architecture: str) -> Failure:
    return Failure("knows.", "unknown-architecture", f"{architecture} is not registered")


def _broken(rng: random.Random, day: date) -> Failure:
    return rng.choice(
        (
            Failure("loads.", "missing-tensors", f"KeyError: 'model.layers.{rng.randint(0, 3)}.mlp.gate.weight'"),
            Failure(
                "generates.", "cache-differs", f"log-probabilities differ by 0.0{rng.randint(10, 99)} with the cache"
            ),
            Failure("speaks.", "template-differs", f"the template of {day:%B} renders another system prompt"),
            Failure("loads.", "load-error", f"RuntimeError: {HOSTILE_WORDS}"),
        )
    )


def _files(subject: str) -> str:
    return f"files of {subject}"


def _fingerprint(cell: Cell, environment: EnvironmentRecord) -> Fingerprint:
    return Fingerprint(environment.digest, "suite", _files(cell.subject_id))


def _control(runtime: Runtime) -> Cell:
    return Cell(CONTROL, runtime, Channel.STABLE, PLATFORM)
