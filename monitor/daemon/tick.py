"""One tick: the whole product as a tuple of steps, each idempotent, each failing for itself alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from monitor.domain import Isolation, Platform
from monitor.errors import BenchError, SettleError, disk_full
from monitor.runner.context import GIB, at_work
from monitor.runner.threads import lanes_for
from monitor.schedule.plan import backoff, plan
from monitor.schedule.today import Scope, Watched, measure, resolve, stable_lines, survey
from monitor.subjects.parity_causes import load_parity_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.config.settings import Config
    from monitor.domain import Runtime
    from monitor.progress import Talk
    from monitor.runner.context import Workbench
    from monitor.schedule.plan import Line, Reason
    from monitor.schedule.today import Survey
    from monitor.sources.hub import Hub
    from monitor.store import Store

_MOST_BACKWARDS = timedelta(minutes=5)  # that a clock may be set back without anything being said of it
_LONGEST_WAIT_S = 1800.0  # an engine or a network that is back is noticed within this


class Clock(Protocol):
    """What time it is, and how to let some pass."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class Step(NamedTuple):
    """``take`` does what is due and returns when it wants to be asked again, None for the next tick."""

    name: str
    take: Callable[[Life], datetime | None]


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that failed by a fault of ours: not asked before ``until``."""

    why: str
    hint: str
    failures: int
    until: datetime


@dataclass
class Life:
    """What one life of the daemon holds on to. All that matters is in the database: this may be lost at any time."""

    config: Config
    store: Store
    talk: Talk
    clock: Clock
    watched: Callable[[], Watched]
    suite_of: Callable[[Runtime], str]
    platform: Platform | None = None
    waits: dict[str, Wait] = field(default_factory=dict)
    line_waits: dict[Line, Wait] = field(default_factory=dict)
    idle: tuple[tuple[int, int], datetime] | None = None  # nothing is due before, while the database has this mark
    hub: Hub | None = None  # one conversation, once there is something to ask
    tidied: datetime | None = None  # when the disk budget was seen to last
    published: tuple[tuple[int, int], datetime] | None = None  # mark and time of the site that was written last
    done: Counter[Reason] = field(default_factory=Counter)  # cells probed since the start, by why
    last_fault: str = ""

    @property
    def lines(self) -> Sequence[Line]:
        return stable_lines(self.config.runtimes)


def tick(life: Life, steps: Sequence[Step]) -> datetime:
    """Take every step that is not waiting, and return when the next one wants to be asked.

    A fault of ours in one step is said and waited for, longer each time; the others go on.
    """
    now = life.clock.now()
    moments = [now + timedelta(seconds=life.config.daemon.tick_seconds)]
    for step in steps:
        wait = life.waits.get(step.name)
        if wait is not None and now < wait.until:
            moments.append(wait.until)
            continue
        try:
            wanted = step.take(life)
        except Exception as error:
            ours = error if isinstance(error, SettleError) else disk_full(error)
            if ours is None:
                raise
            moments.append(_wait(life, step.name, ours, wait).until)
        else:
            if life.waits.pop(step.name, None):
                life.talk.say(f"{step.name}: goes on")
            moments.extend([wanted] if wanted else [])
    return min(moments)


def _wait(life: Life, name: str, error: SettleError, before: Wait | None) -> Wait:
    failures = before.failures + 1 if before else 1
    seconds = min(_LONGEST_WAIT_S, life.config.daemon.tick_seconds * 2 ** min(failures - 1, 10))
    wait = Wait(str(error), error.hint, failures, life.clock.now() + timedelta(seconds=seconds))
    life.waits[name] = wait
    life.last_fault = f"{name}: {error}"
    if before is None or before.why != wait.why:  # what goes on as it was need not fill the log
        life.talk.say(f"{name}: {error}" + (f" ({error.hint})" if error.hint else ""))
        life.talk.say(f"{name}: waiting until {wait.until:%H:%M:%S} UTC, then once more, longer each time")
    return wait


def probe_what_is_due(life: Life) -> datetime | None:
    """Resolve, carry and probe a slice of what is due; connect to an engine only for that."""
    now = life.clock.now()
    _refuse_the_past(life.store, now)
    mark = life.store.standings.mark()
    if life.idle and life.idle[0] == mark and now < life.idle[1]:
        return life.idle[1]
    watched = life.watched()
    if life.platform is not None:
        again_at = _nothing_due(life, watched, now)
        if again_at is not None:
            life.idle = (mark, again_at)
            return again_at
    with at_work(life.config, life.store, life.talk, now=life.clock.now) as shop:
        life.platform = _same_platform(life, shop.platform)
        life.store.record_catalogue(shop.catalogue.models, watched.subjects)
        life.store.record_parity_causes(load_parity_causes())
        found = _survey(life, watched)
        unresolved = _not_waiting(life, found.unresolved)
        for line in unresolved:
            _resolve(life, shop, line)
        if unresolved:
            found = _survey(life, watched)
        done = measure(shop, found, watched, life.clock.now, life.talk, sleep=life.clock.sleep)
    life.done.update(reason for job in done.plan.jobs if job.line not in done.failed for _, reason in job.wanted)
    for job in done.plan.jobs:
        if job.line not in done.failed:
            life.line_waits.pop(job.line, None)
    for line, why in done.failed.items():
        _line_waits(life, line, why)
    return now  # there may be more: weigh again at once


def _nothing_due(life: Life, watched: Watched, now: datetime) -> datetime | None:
    """Return when to look again where there is nothing to do now."""
    found = _survey(life, watched)
    if _not_waiting(life, found.unresolved):
        return None
    decided = plan(found.standings, found.offers, found.budget, now)
    if decided.jobs or decided.carried:
        return None
    waits = (wait.until for wait in life.line_waits.values() if wait.until > now)
    return min([decided.again_at, *found.asked_again.values(), *waits])


def _survey(life: Life, watched: Watched) -> Survey:
    assert life.platform is not None  # noqa: S101 - known from the first connection on
    lines = _not_waiting(life, life.lines)
    suites = {line.runtime: life.suite_of(line.runtime) for line in lines}
    limits = life.config.limits
    lanes = lanes_for(limits.lanes, container_bytes=int(limits.memory_gib * GIB))
    scope = Scope(life.platform, watched, lines, suites, life.config.daemon, lanes)
    return survey(life.store, scope, life.clock.now())


def _resolve(life: Life, shop: Workbench, line: Line) -> None:
    try:
        resolve(shop, line, life.clock.now(), life.talk)
    except SettleError as error:
        _line_waits(life, line, str(error))
        life.talk.say(f"{line.runtime}: {error}")


def _not_waiting(life: Life, lines: Sequence[Line]) -> list[Line]:
    now = life.clock.now()
    return [line for line in lines if line not in life.line_waits or now >= life.line_waits[line].until]


def _line_waits(life: Life, line: Line, why: str) -> None:
    before = life.line_waits.get(line)
    failures = before.failures + 1 if before else 1
    life.line_waits[line] = Wait(why, "", failures, life.clock.now() + backoff(failures))
    life.last_fault = f"{line.runtime}: {why}"


def _same_platform(life: Life, platform: Platform) -> Platform:
    """Refuse to begin another history silently where the engine that measured this one does not answer."""
    other = str(Platform(platform.python, platform.accelerator, Isolation.CONTAINER))
    fallen_back = life.config.engine == "auto" and platform.isolation is Isolation.PROCESS
    if fallen_back and other in life.store.standings.platforms():
        raise BenchError(
            "no container engine answers, and this history was measured in containers",
            hint="start the engine; `settle run --engine process` would begin a history of its own",
        )
    return platform


def _refuse_the_past(store: Store, now: datetime) -> None:
    last = store.standings.last_recorded()
    if last is not None and now < last - _MOST_BACKWARDS:
        raise BenchError(
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, and something was recorded at {last:%Y-%m-%d %H:%M} UTC",
            hint="set the clock; nothing is measured until it is past that moment",
        )
