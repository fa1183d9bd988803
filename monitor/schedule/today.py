"""One slice of today's measuring: what each runtime gives, what is carried, and the cycles that are due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from monitor import verdicts
from monitor.domain import Blame, Cell, CellVerdict, Channel, Origin
from monitor.errors import SettleError
from monitor.judge.confirm import passes_by
from monitor.judge.days import Fingerprint
from monitor.runner.cycle import run_cycle
from monitor.runner.install import InstallResult
from monitor.runner.request import ProbeRequest
from monitor.schedule.plan import Budget, Job, LastDay, Offer, Plan, PlannedCell, ReleaseLine, backoff, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.config.settings import Daemon
    from monitor.domain import Platform, Runtime, Subject
    from monitor.runner.parallel import Runner
    from monitor.store import Store
    from monitor.store.planning import LatestDay, Resolved

_UNTRIED_S = 20.0  # what a cell of a runtime is taken to need before any was measured
_LONG_AGO = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class Watched:
    """The subjects to measure, with each model's release day or else the day it was first seen; None if unknown."""

    subjects: Sequence[Subject]
    born: Mapping[str, date | None]  # by model id


@dataclass(frozen=True, slots=True)
class Scope:
    """What is measured, where, and how much of the day it may take; ``suites`` are the present probes by runtime."""

    platform: Platform
    watched: Watched
    lines: Sequence[ReleaseLine]
    suites: Mapping[Runtime, str]
    allowed: Daemon
    workers: int = 1  # containers side by side: so many seconds of sessions fit into one


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that planning needs, as it is in the database now."""

    cells: Sequence[PlannedCell]
    offers: Mapping[ReleaseLine, Offer]
    resolutions: Mapping[ReleaseLine, Resolved]
    unresolved: Sequence[ReleaseLine]  # whose day has no resolution yet, or one that is out of date
    retry_at: Mapping[ReleaseLine, datetime]  # where resolving failed by a fault of ours
    budget: Budget


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of a slice. ``failed`` are lines whose cycle ended by a fault of ours, and why."""

    plan: Plan
    failed: Mapping[ReleaseLine, str]


def survey(store: Store, scope: Scope, now: datetime) -> Survey:
    """Query everything that planning needs."""
    today, lines, queries = now.astimezone(UTC).date(), scope.lines, store.planning
    resolutions = {
        line: resolution
        for line in lines
        if (resolution := queries.last_resolution(*line, scope.platform, day=today)) is not None
    }
    days = queries.latest_days(scope.platform, [line.runtime for line in lines])
    locks = {day.environment for day in days} | {resolution.environment for resolution in resolutions.values()}
    pins = queries.pins_of(locks)
    latest = {(day.subject_id, ReleaseLine(day.runtime, day.channel)): _latest(day, pins) for day in days}
    retried = {line: resolution for line, resolution in resolutions.items() if _may_pass(resolution)}
    return Survey(
        cells=[
            PlannedCell(
                subject_id=subject.id,
                line=line,
                born=scope.watched.born.get(subject.model_id) or _LONG_AGO,
                digest=subject.digest,
                latest=latest.get((subject.id, line)),
            )
            for line in lines
            for subject in scope.watched.subjects
        ],
        offers={
            line: Offer(
                resolution.version, pins.get(resolution.environment, resolution.environment), scope.suites[line.runtime]
            )
            for line, resolution in resolutions.items()
            if line not in retried
        },
        resolutions=resolutions,
        unresolved=[line for line in lines if _is_unresolved(store, line, resolutions.get(line), now)],
        retry_at={line: _retry_at(resolution) for line, resolution in retried.items()},
        budget=_budget(store, scope, now),
    )


def resolve(runner: Runner, line: ReleaseLine, now: datetime) -> None:
    """Resolve what a user gets of the line now, and record the answer, whatever it is."""
    answer = runner.tools_for(line.runtime).installer.resolve_only(_request(line, (), now))
    if isinstance(answer, InstallResult) and answer.failure:
        runner.progress.message(f"{line.runtime}: no {line.channel} release installs now ({answer.failure.slug})")


def measure(runner: Runner, facts: Survey, watched: Watched, now: Callable[[], datetime]) -> Measured:
    """Carry what has not changed and run the cycles that are due; a line whose cycle fails costs only itself."""
    decided = plan(facts.cells, facts.offers, facts.budget, now())
    subjects = {subject.id: subject for subject in watched.subjects}
    for line, names in decided.carried.items():
        _carry(runner, line, [subjects[name] for name in names], facts, now())
    failed = {}
    for job in decided.jobs:
        runner.progress.message(_sentence(job))
        request = _request(job.line, [subjects[name] for name, _ in job.wanted], now())
        try:
            run_cycle(runner, request)
        except SettleError as error:
            failed[job.line] = str(error)
            runner.progress.message(f"{job.line.runtime}: {error}")
    return Measured(decided, failed)


def _request(line: ReleaseLine, subjects: Sequence[Subject], now: datetime) -> ProbeRequest:
    day = now.astimezone(UTC).date()
    return ProbeRequest(runtime=line.runtime, channel=line.channel, day=day, cutoff=now, subjects=subjects, force=True)


def _carry(runner: Runner, line: ReleaseLine, subjects: Sequence[Subject], facts: Survey, now: datetime) -> None:
    """Carry cells in the environment they were measured in: today's is the same as far as a probe imports it."""
    latest = {cell.subject_id: cell.latest for cell in facts.cells if cell.line == line and cell.latest}
    cells = {subject.id: Cell(subject.id, *line, runner.platform) for subject in subjects}
    verdicts.carry(
        runner.store,
        cells.values(),
        [now.astimezone(UTC).date()],
        Origin.LIVE,
        resolution_id=facts.resolutions[line].id,
        fingerprints={
            cell.id: Fingerprint(latest[name].environment, latest[name].offer.suite, latest[name].subject)
            for name, cell in cells.items()
        },
    )


def _latest(day: LatestDay, pins: Mapping[str, str]) -> LastDay:
    blame = Blame(day.blame) if day.blame else None
    spoiled = day.verdict is CellVerdict.UNKNOWN and passes_by(blame, day.fault)
    return LastDay(
        day=day.day,
        verdict=day.verdict,
        since=day.since,
        probed=day.probed,
        offer=Offer(day.version, pins.get(day.environment, day.environment), day.suite),
        environment=day.environment,
        subject=day.subject_digest,
        open=day.is_leaning,
        spoiled=day.asked if spoiled else 0,
        last_run_at=day.last_run_at,
    )


def _is_unresolved(store: Store, line: ReleaseLine, resolution: Resolved | None, now: datetime) -> bool:
    if resolution is None:
        return True
    if _may_pass(resolution):
        return now >= _retry_at(resolution)
    return store.planning.has_news(*line, since=resolution.at, now=now)


def _retry_at(resolution: Resolved) -> datetime:
    return resolution.at + backoff(resolution.failures)


def _may_pass(resolution: Resolved) -> bool:
    """Return whether resolving failed by a fault of ours that may be gone another time."""
    return passes_by(Blame.INFRA if resolution.fault.startswith("infra-") else None, resolution.fault)


def _budget(store: Store, scope: Scope, now: datetime) -> Budget:
    lines, allowed = scope.lines, scope.allowed
    spent = store.planning.time_spent(since=now - timedelta(days=1))
    cells = {line.runtime: store.planning.seconds_a_cell(line.runtime) for line in lines}
    return Budget(
        slice_s=allowed.slice_minutes * 60,
        left_s=allowed.hours_a_day * 3600 * scope.workers - sum(spent.values()),
        spent={line: spent.get((line.runtime, line.channel), 0.0) for line in lines},
        cell_s={line: _UNTRIED_S if (seconds := cells[line.runtime]) is None else seconds for line in lines},
    )


def _sentence(job: Job) -> str:
    reasons = dict.fromkeys(reason for _, reason in job.wanted)
    count = len(job.wanted)
    what = job.wanted[0][0] if count == 1 else f"{count} models"
    return f"{job.line.runtime}: {what}, because: {'; '.join(reasons)} (about {job.seconds:.0f} s)"


def stable_lines(runtimes: Sequence[Runtime]) -> list[ReleaseLine]:
    return [ReleaseLine(runtime, Channel.STABLE) for runtime in runtimes]
