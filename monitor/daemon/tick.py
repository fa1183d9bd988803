"""One tick: takes every step that is due; each is idempotent, and a failing one delays no other."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from monitor.domain import Isolation, Platform
from monitor.errors import InfraError, SettleError, disk_full
from monitor.runner.parallel import worker_count
from monitor.runner.session import GIB
from monitor.schedule.plan import backoff, plan
from monitor.schedule.today import Scope, Watched, measure, resolve, stable_lines, survey
from monitor.subjects.catalogue import load_parity_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from monitor.config.settings import Config
    from monitor.domain import Runtime
    from monitor.progress import Progress
    from monitor.runner.derive import Deriver
    from monitor.runner.parallel import Runner
    from monitor.schedule.plan import Reason, ReleaseLine
    from monitor.schedule.today import Survey
    from monitor.sources.hub import HubClient
    from monitor.store import Store
    from monitor.subjects.catalogue import Catalogue

_MOST_BACKWARDS = timedelta(minutes=5)  # a clock may be set back by this much without an error
_LONGEST_WAIT_S = 1800.0  # an engine or a network that answers again is noticed within this time


class Clock(Protocol):
    """The present time, and how to wait."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class EngineTools(Protocol):
    """What a step works with while an engine is connected."""

    @property
    def runner(self) -> Runner: ...

    @property
    def deriver(self) -> Deriver: ...

    @property
    def catalogue(self) -> Catalogue: ...


class Step(NamedTuple):
    """``take`` does what is due and returns when it is due again, None for the next tick."""

    name: str
    take: Callable[[DaemonState], datetime | None]


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that failed by an infra fault is not taken before ``until``."""

    reason: str
    hint: str
    failures: int
    until: datetime


@dataclass
class DaemonState:
    """The state of a running daemon. It may be lost at any time: everything that matters is in the database."""

    config: Config
    store: Store
    progress: Progress
    clock: Clock
    watched: Callable[[], Watched]
    suite_of: Callable[[Runtime], str]
    connect: Callable[[], AbstractContextManager[EngineTools]]  # to an engine; raises InfraError where none answers
    platform: Platform | None = None
    waits: dict[str, Wait] = field(default_factory=dict)
    line_waits: dict[ReleaseLine, Wait] = field(default_factory=dict)
    idle: tuple[tuple[int, int], datetime] | None = None  # nothing is due until then, while the database has this mark
    hub: HubClient | None = None  # connected when it is first needed
    budget_applied: datetime | None = None  # when the disk budget was last applied
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    published: tuple[tuple[int, int], datetime] | None = None  # mark and time of the last pages
    done: Counter[Reason] = field(default_factory=Counter)  # cells probed since the start, by reason
    last_fault: str = ""


def tick(state: DaemonState, steps: Sequence[Step]) -> datetime:
    """Take every step that is not waiting, and return when the next one is due.

    A step with an infra fault waits, longer each time; the others go on.
    """
    now = state.clock.now()
    moments = [now + timedelta(seconds=state.config.daemon.tick_seconds)]
    for step in steps:
        wait = state.waits.get(step.name)
        if wait is not None and now < wait.until:
            moments.append(wait.until)
            continue
        try:
            due_at = step.take(state)
        except Exception as error:
            known_error = error if isinstance(error, SettleError) else disk_full(error)
            if known_error is None:
                raise
            moments.append(_wait(state, step.name, known_error, wait).until)
        else:
            if state.waits.pop(step.name, None):
                state.progress.message(f"{step.name}: works again")
            moments.extend([due_at] if due_at else [])
    return min(moments)


def _wait(state: DaemonState, name: str, error: SettleError, before: Wait | None) -> Wait:
    failures = before.failures + 1 if before else 1
    seconds = min(_LONGEST_WAIT_S, state.config.daemon.tick_seconds * 2 ** min(failures - 1, 10))
    wait = Wait(str(error), error.hint, failures, state.clock.now() + timedelta(seconds=seconds))
    state.waits[name] = wait
    state.last_fault = f"{name}: {error}"
    if before is None or before.reason != wait.reason:  # an unchanged fault is not logged again
        state.progress.message(f"{name}: {error}" + (f" ({error.hint})" if error.hint else ""))
        state.progress.message(f"{name}: next attempt at {wait.until:%H:%M:%S} UTC, later ones after longer waits")
    return wait


def probe_what_is_due(state: DaemonState) -> datetime | None:
    """Resolve, carry and probe a slice of what is due; connect to an engine only when needed."""
    now = state.clock.now()
    _require_clock_forward(state.store, now)
    mark = state.store.planning.mark()
    if state.idle and state.idle[0] == mark and now < state.idle[1]:
        return state.idle[1]
    watched = state.watched()
    if state.platform is not None:
        again_at = _nothing_due(state, watched, now)
        if again_at is not None:
            state.idle = (mark, again_at)
            return again_at
    with state.connect() as tools:
        state.platform = _same_platform(state, tools.runner.platform)
        state.store.record_catalogue(tools.catalogue.models, watched.subjects)
        state.store.record_parity_causes(load_parity_causes())
        due = _survey(state, watched)
        unresolved = _not_waiting(state, due.unresolved)
        for line in unresolved:
            try:
                resolve(tools.runner, line, state.clock.now())
            except SettleError as error:
                _line_waits(state, line, str(error))
                state.progress.message(f"{line.runtime}: {error}")
        if unresolved:
            due = _survey(state, watched)
        done = measure(tools.runner, due, watched, state.clock.now)
    state.done.update(reason for job in done.plan.jobs if job.line not in done.failed for _, reason in job.wanted)
    for job in done.plan.jobs:
        if job.line not in done.failed:
            state.line_waits.pop(job.line, None)
    for line, why in done.failed.items():
        _line_waits(state, line, why)
    return now  # there may be more: plan again at once


def _nothing_due(state: DaemonState, watched: Watched, now: datetime) -> datetime | None:
    """Return when to look again where there is nothing to do now."""
    due = _survey(state, watched)
    if _not_waiting(state, due.unresolved):
        return None
    decided = plan(due.cells, due.offers, due.budget, now)
    if decided.jobs or decided.carried:
        return None
    waits = (wait.until for wait in state.line_waits.values() if wait.until > now)
    return min([decided.again_at, *due.retry_at.values(), *waits])


def _survey(state: DaemonState, watched: Watched) -> Survey:
    assert state.platform is not None  # noqa: S101 - known from the first connection on
    lines = _not_waiting(state, stable_lines(state.config.runtimes))
    suites = {line.runtime: state.suite_of(line.runtime) for line in lines}
    limits = state.config.limits
    workers = worker_count(limits.workers, container_bytes=int(limits.memory_gib * GIB))
    scope = Scope(state.platform, watched, lines, suites, state.config.daemon, workers)
    return survey(state.store, scope, state.clock.now())


def _not_waiting(state: DaemonState, lines: Sequence[ReleaseLine]) -> list[ReleaseLine]:
    now = state.clock.now()
    return [line for line in lines if line not in state.line_waits or now >= state.line_waits[line].until]


def _line_waits(state: DaemonState, line: ReleaseLine, why: str) -> None:
    before = state.line_waits.get(line)
    failures = before.failures + 1 if before else 1
    state.line_waits[line] = Wait(why, "", failures, state.clock.now() + backoff(failures))
    state.last_fault = f"{line.runtime}: {why}"


def _same_platform(state: DaemonState, platform: Platform) -> Platform:
    """Refuse to start another history silently when the engine that measured this one does not answer."""
    other = Platform(platform.python, platform.accelerator, Isolation.CONTAINER)
    fell_back = state.config.engine == "auto" and platform.isolation is Isolation.PROCESS
    if fell_back and state.store.planning.was_measured_on(other):
        raise InfraError(
            "no container engine answers, and this history was measured in containers",
            hint="start the engine; `settle run --engine process` would start a separate history",
        )
    return platform


def _require_clock_forward(store: Store, now: datetime) -> None:
    last = store.planning.last_recorded()
    if last is not None and now < last - _MOST_BACKWARDS:
        raise InfraError(
            f"the clock shows {now:%Y-%m-%d %H:%M} UTC, which is before the last record, {last:%Y-%m-%d %H:%M} UTC",
            hint="set the clock; if it is right now and was ahead, `settle correct-clock FILE` removes those records",
        )
