"""One slice of a day's measuring: what each runtime gives today, what is carried, and the cycles that are due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from containers.recipes import RECIPES
from monitor import verdicts
from monitor.domain import Blame, Cell, CellVerdict, Channel, Origin
from monitor.errors import SettleError
from monitor.judge.confirm import passes_by
from monitor.judge.days import Fingerprint
from monitor.judge.lock_diff import imported_pins
from monitor.runner.cycle import run_cycle
from monitor.runner.install import InstallResult
from monitor.runner.request import ProbeRequest
from monitor.schedule.plan import Budget, Job, Latest, Line, Offer, Plan, Standing, backoff, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.config.settings import Daemon
    from monitor.domain import Platform, Runtime, Subject
    from monitor.runner.parallel import Runner
    from monitor.store import Store
    from monitor.store.planning_queries import LatestDay, Resolved

_UNTRIED_S = 20.0  # what a cell of a runtime is taken to need before any was measured
_LONG_AGO = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class Watched:
    """The subjects to measure, with the day each model was released or else first seen; None where nobody knows."""

    subjects: Sequence[Subject]
    born: Mapping[str, date | None]  # by model id


@dataclass(frozen=True, slots=True)
class Scope:
    """What is measured, where, and how much of the day it may take; ``suites`` is what would probe each runtime now.

    ``lanes`` is how many containers run side by side: so many seconds of sessions fit into one.
    """

    platform: Platform
    watched: Watched
    lines: Sequence[Line]
    suites: Mapping[Runtime, str]
    allowed: Daemon
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that planning needs, as it is in the database now."""

    planning_queries: Sequence[Standing]
    offers: Mapping[Line, Offer]
    resolutions: Mapping[Line, Resolved]
    unresolved: Sequence[Line]  # whose day has no resolution yet, or one that is out of date
    asked_again: Mapping[Line, datetime]  # where asking failed by a fault of ours
    budget: Budget


@dataclass(frozen=True, slots=True)
class Measured:
    """What a slice came to. ``failed`` are lines whose cycle ended by a fault of ours, and why."""

    plan: Plan
    failed: Mapping[Line, str]


def survey(store: Store, scope: Scope, now: datetime) -> Survey:
    """Ask the database for all that planning needs."""
    today, lines, asked = now.astimezone(UTC).date(), scope.lines, store.planning_queries
    resolutions = {line: found for line in lines if (found := asked.last_resolution(*line, scope.platform, day=today))}
    days = asked.latest_days(scope.platform, [line.runtime for line in lines])
    locks = {one.environment for one in days} | {one.environment for one in resolutions.values()}
    pins = _Pins(asked.packages_of(locks))
    latest = {(one.subject_id, Line(one.runtime, one.channel)): one for one in days}
    return Survey(
        planning_queries=[
            _standing(subject, line, scope.watched, latest.get((subject.id, line)), pins)
            for line in lines
            for subject in scope.watched.subjects
        ],
        offers={
            line: Offer(found.version, pins.of(line.runtime, found.environment), scope.suites[line.runtime])
            for line, found in resolutions.items()
            if not _may_pass_by(found)
        },
        resolutions=resolutions,
        unresolved=[line for line in lines if _is_unresolved(store, line, resolutions.get(line), now)],
        asked_again={line: _ask_again_at(found) for line, found in resolutions.items() if _may_pass_by(found)},
        budget=_budget(store, scope, now),
    )


def resolve(runner: Runner, line: Line, now: datetime) -> None:
    """Resolve what a user gets of the line now, and record the answer, whatever it is."""
    answer = runner.tools_for(line.runtime).installer.resolve_only(_request(line, (), now))
    if isinstance(answer, InstallResult) and answer.failure:
        runner.progress.message(f"{line.runtime}: nobody gets a {line.channel} release now ({answer.failure.slug})")


def measure(runner: Runner, found: Survey, watched: Watched, now: Callable[[], datetime]) -> Measured:
    """Carry what has not changed and hold the cycles that are due; a line whose cycle fails costs only itself."""
    decided = plan(found.planning_queries, found.offers, found.budget, now())
    subjects = {subject.id: subject for subject in watched.subjects}
    for line, names in decided.carried.items():
        _carry(runner, line, [subjects[one] for one in names], found, now())
    failed = {}
    for job in decided.jobs:
        runner.progress.message(_told(job))
        request = _request(job.line, [subjects[name] for name, _ in job.wanted], now())
        try:
            run_cycle(runner, request)
        except SettleError as error:
            failed[job.line] = str(error)
            runner.progress.message(f"{job.line.runtime}: {error}")
    return Measured(decided, failed)


def _request(line: Line, subjects: Sequence[Subject], now: datetime) -> ProbeRequest:
    return ProbeRequest(
        runtime=line.runtime,
        channel=line.channel,
        day=now.astimezone(UTC).date(),
        cutoff=now,
        subjects=subjects,
        force=True,
    )


def _carry(runner: Runner, line: Line, subjects: Sequence[Subject], found: Survey, now: datetime) -> None:
    """Carry cells in the environment they were measured in: today's is the same as far as a probe imports it."""
    measured = {(one.subject_id, one.line): one.latest for one in found.planning_queries}
    cells = {subject.id: Cell(subject.id, *line, runner.platform) for subject in subjects}
    fingerprints = {
        cells[subject.id].id: Fingerprint(latest.environment, latest.offer.suite, latest.subject)
        for subject in subjects
        if (latest := measured[subject.id, line])
    }
    verdicts.carry(
        runner.store,
        cells.values(),
        [now.astimezone(UTC).date()],
        Origin.LIVE,
        resolution_id=found.resolutions[line].id,
        fingerprints=fingerprints,
    )


def _standing(subject: Subject, line: Line, watched: Watched, latest: LatestDay | None, pins: _Pins) -> Standing:
    return Standing(
        subject_id=subject.id,
        line=line,
        born=watched.born.get(subject.model_id) or _LONG_AGO,
        digest=subject.digest,
        latest=_latest(latest, pins) if latest else None,
    )


def _latest(one: LatestDay, pins: _Pins) -> Latest:
    unknown = one.verdict is CellVerdict.UNKNOWN
    spoiled = unknown and passes_by(Blame(one.blame) if one.blame else None, one.fault)
    return Latest(
        day=one.day,
        verdict=one.verdict,
        since=one.since,
        probed=one.probed,
        offer=Offer(one.version, pins.of(one.runtime, one.environment), one.suite),
        environment=one.environment,
        subject=one.subject_digest,
        open=one.leaning,
        spoiled=one.asked if spoiled else 0,
        last_run_at=one.last_run_at,
    )


class _Pins:
    """What a probe imports of an environment; of one that was never made, its name stands for it."""

    def __init__(self, packages: Mapping[str, Mapping[str, str]]) -> None:
        self._packages = packages
        self._told: dict[tuple[Runtime, str], str] = {}

    def of(self, runtime: Runtime, environment: str) -> str:
        key = runtime, environment
        if key not in self._told:
            packages = self._packages.get(environment)
            self._told[key] = environment if packages is None else imported_pins(packages, RECIPES[runtime].imported)
        return self._told[key]


def _is_unresolved(store: Store, line: Line, found: Resolved | None, now: datetime) -> bool:
    if found is None:
        return True
    if _may_pass_by(found):
        return now >= _ask_again_at(found)
    return any(
        found.at < one.published_at <= now
        for one in store.releases(line.runtime)
        if one.channel is line.channel and not one.yanked
    )


def _ask_again_at(found: Resolved) -> datetime:
    return found.at + backoff(found.failures)


def _may_pass_by(found: Resolved) -> bool:
    return passes_by(Blame.INFRA if found.fault.startswith("infra-") else None, found.fault)


def _budget(store: Store, scope: Scope, now: datetime) -> Budget:
    lines, allowed = scope.lines, scope.allowed
    spent = store.planning_queries.time_spent(since=now - timedelta(days=1))
    cells = store.planning_queries.seconds_a_cell()
    return Budget(
        slice_s=allowed.slice_minutes * 60,
        left_s=allowed.hours_a_day * 3600 * scope.workers - sum(spent.values()),
        spent={line: spent.get((line.runtime, line.channel), 0.0) for line in lines},
        cell_s={line: cells.get(line.runtime, _UNTRIED_S) for line in lines},
    )


def _told(job: Job) -> str:
    reasons = dict.fromkeys(reason for _, reason in job.wanted)
    count = len(job.wanted)
    what = job.wanted[0][0] if count == 1 else f"{count} models"
    return f"{job.line.runtime}: {what}, because: {'; '.join(reasons)} (about {job.seconds:.0f} s)"


def stable_lines(runtimes: Sequence[Runtime]) -> list[Line]:
    return [Line(runtime, Channel.STABLE) for runtime in runtimes]
