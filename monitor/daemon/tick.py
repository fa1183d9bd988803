"""One tick: the whole product as a tuple of steps, each idempotent, each failing for itself alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from monitor.domain import Isolation, Platform
from monitor.errors import InfraError, SettleError, disk_full
from monitor.runner.session import GIB
from monitor.runner.threads import worker_count
from monitor.schedule.plan import backoff, plan
from monitor.schedule.today import Scope, Watched, measure, resolve, stable_lines, survey
from monitor.subjects.parity_causes import load_parity_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from containers.environments import Environments
    from monitor.config.settings import Config
    from monitor.domain import Runtime
    from monitor.progress import Progress
    from monitor.runner.derive import Deriver
    from monitor.runner.parallel import Runner
    from monitor.schedule.plan import Line, Reason
    from monitor.schedule.today import Survey
    from monitor.sources.hub import HubClient
    from monitor.store import Store
    from monitor.subjects.catalogue import Catalogue

_MOST_BACKWARDS = timedelta(minutes=5)  # that a clock may be set back without anything being said of it
_LONGEST_WAIT_S = 1800.0  # an engine or a network that is back is noticed within this


class Clock(Protocol):
    """What time it is, and how to let some pass."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class EngineTools(Protocol):
    """What a step works with while an engine is connected."""

    @property
    def runner(self) -> Runner: ...

    @property
    def deriver(self) -> Deriver: ...

    @property
    def environments(self) -> Environments: ...

    @property
    def catalogue(self) -> Catalogue: ...


class Step(NamedTuple):
    """``take`` does what is due and returns when it wants to be asked again, None for the next tick."""

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
    """What one life of the daemon holds on to. All that matters is in the database: this may be lost at any time."""

    config: Config
    store: Store
    progress: Progress
    clock: Clock
    watched: Callable[[], Watched]
    suite_of: Callable[[Runtime], str]
    connect: Callable[[], AbstractContextManager[EngineTools]]  # to an engine; raises InfraError where none answers
    platform: Platform | None = None
    waits: dict[str, Wait] = field(default_factory=dict)
    line_waits: dict[Line, Wait] = field(default_factory=dict)
    idle: tuple[tuple[int, int], datetime] | None = None  # nothing is due before, while the database has this mark
    hub: HubClient | None = None  # one conversation, once there is something to ask
    tidied: datetime | None = None  # when the disk budget was seen to last
    published: tuple[tuple[int, int], datetime] | None = None  # mark and time of the site that was written last
    done: Counter[Reason] = field(default_factory=Counter)  # cells probed since the start, by why
    last_fault: str = ""

    @property
    def lines(self) -> Sequence[Line]:
        return stable_lines(self.config.runtimes)


def tick(state: DaemonState, steps: Sequence[Step]) -> datetime:
    """Take every step that is not waiting, and return when the next one wants to be asked.

    A fault of ours in one step is said and waited for, longer each time; the others go on.
    """
    now = state.clock.now()
    moments = [now + timedelta(seconds=state.config.daemon.tick_seconds)]
    for step in steps:
        wait = state.waits.get(step.name)
        if wait is not None and now < wait.until:
            moments.append(wait.until)
            continue
        try:
            wanted = step.take(state)
        except Exception as error:
            ours = error if isinstance(error, SettleError) else disk_full(error)
            if ours is None:
                raise
            moments.append(_wait(state, step.name, ours, wait).until)
        else:
            if state.waits.pop(step.name, None):
                state.progress.message(f"{step.name}: goes on")
            moments.extend([wanted] if wanted else [])
    return min(moments)


def _wait(state: DaemonState, name: str, error: SettleError, before: Wait | None) -> Wait:
    failures = before.failures + 1 if before else 1
    seconds = min(_LONGEST_WAIT_S, state.config.daemon.tick_seconds * 2 ** min(failures - 1, 10))
    wait = Wait(str(error), error.hint, failures, state.clock.now() + timedelta(seconds=seconds))
    state.waits[name] = wait
    state.last_fault = f"{name}: {error}"
    if before is None or before.reason != wait.reason:  # what goes on as it was need not fill the log
        state.progress.message(f"{name}: {error}" + (f" ({error.hint})" if error.hint else ""))
        state.progress.message(f"{name}: waiting until {wait.until:%H:%M:%S} UTC, then once more, longer each time")
    return wait


def probe_what_is_due(state: DaemonState) -> datetime | None:
    """Resolve, carry and probe a slice of what is due; connect to an engine only for that."""
    now = state.clock.now()
    _refuse_the_past(state.store, now)
    mark = state.store.planning_queries.mark()
    if state.idle and state.idle[0] == mark and now < state.idle[1]:
        return state.idle[1]
    watched = state.watched()
    if state.platform is not None:
        again_at = _nothing_due(state, watched, now)
        if again_at is not None:
            state.idle = (mark, again_at)
            return again_at
    with state.connect() as opened:
        state.platform = _same_platform(state, opened.runner.platform)
        state.store.record_catalogue(opened.catalogue.models, watched.subjects)
        state.store.record_parity_causes(load_parity_causes())
        found = _survey(state, watched)
        unresolved = _not_waiting(state, found.unresolved)
        for line in unresolved:
            _resolve(state, opened.runner, line)
        if unresolved:
            found = _survey(state, watched)
        done = measure(opened.runner, found, watched, state.clock.now)
    state.done.update(reason for job in done.plan.jobs if job.line not in done.failed for _, reason in job.wanted)
    for job in done.plan.jobs:
        if job.line not in done.failed:
            state.line_waits.pop(job.line, None)
    for line, why in done.failed.items():
        _line_waits(state, line, why)
    return now  # there may be more: weigh again at once


def _nothing_due(state: DaemonState, watched: Watched, now: datetime) -> datetime | None:
    """Return when to look again where there is nothing to do now."""
    found = _survey(state, watched)
    if _not_waiting(state, found.unresolved):
        return None
    decided = plan(found.cells, found.offers, found.budget, now)
    if decided.jobs or decided.carried:
        return None
    waits = (wait.until for wait in state.line_waits.values() if wait.until > now)
    return min([decided.again_at, *found.retry_at.values(), *waits])


def _survey(state: DaemonState, watched: Watched) -> Survey:
    assert state.platform is not None  # noqa: S101 - known from the first connection on
    lines = _not_waiting(state, state.lines)
    suites = {line.runtime: state.suite_of(line.runtime) for line in lines}
    limits = state.config.limits
    workers = worker_count(limits.workers, container_bytes=int(limits.memory_gib * GIB))
    scope = Scope(state.platform, watched, lines, suites, state.config.daemon, workers)
    return survey(state.store, scope, state.clock.now())


def _resolve(state: DaemonState, runner: Runner, line: Line) -> None:
    try:
        resolve(runner, line, state.clock.now())
    except SettleError as error:
        _line_waits(state, line, str(error))
        state.progress.message(f"{line.runtime}: {error}")


def _not_waiting(state: DaemonState, lines: Sequence[Line]) -> list[Line]:
    now = state.clock.now()
    return [line for line in lines if line not in state.line_waits or now >= state.line_waits[line].until]


def _line_waits(state: DaemonState, line: Line, why: str) -> None:
    before = state.line_waits.get(line)
    failures = before.failures + 1 if before else 1
    state.line_waits[line] = Wait(why, "", failures, state.clock.now() + backoff(failures))
    state.last_fault = f"{line.runtime}: {why}"


def _same_platform(state: DaemonState, platform: Platform) -> Platform:
    """Refuse to begin another history silently where the engine that measured this one does not answer."""
    other = str(Platform(platform.python, platform.accelerator, Isolation.CONTAINER))
    fallen_back = state.config.engine == "auto" and platform.isolation is Isolation.PROCESS
    if fallen_back and other in state.store.planning_queries.platforms():
        raise InfraError(
            "no container engine answers, and this history was measured in containers",
            hint="start the engine; `settle run --engine process` would begin a history of its own",
        )
    return platform


def _refuse_the_past(store: Store, now: datetime) -> None:
    last = store.planning_queries.last_recorded()
    if last is not None and now < last - _MOST_BACKWARDS:
        raise InfraError(
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, and something was recorded at {last:%Y-%m-%d %H:%M} UTC",
            hint="set the clock; nothing is measured until it is past that moment",
        )
