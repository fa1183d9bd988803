"""What it costs to know that nothing is due, to plan, and to go on doing so for long."""

from __future__ import annotations

import gc
import os
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from monitor import verdicts
from monitor.config.settings import Config
from monitor.daemon import tick
from monitor.daemon.tick import DaemonState, Step, probe_what_is_due
from monitor.domain import (
    Cell,
    Ending,
    Isolation,
    Model,
    ModelKind,
    Origin,
    Platform,
    Purpose,
    Subject,
    SubjectForm,
)
from monitor.judge.days import Fingerprint
from monitor.schedule.plan import plan
from monitor.schedule.today import Scope, Watched, survey
from monitor.store import EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord, Store, open_store
from monitor.wire.stream import read_events
from tests.bench.timing import tell, tell_aim, timed, title
from tests.standins.planned import LINES, World

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = 2000  # on five lines: 10,000 cells
TICKS = 10_000
PLATFORM = Platform("3.11", "cpu", Isolation.CONTAINER)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def measure() -> None:
    _measure_fairness()
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
        subjects = _record(store)
        _measure_tick(store, subjects)


def _measure_fairness() -> None:
    title("90 days of 1,000 models and one more each day, five runtimes, 24 and 8 hours of probing a day")
    for hours in (24.0, 8.0):
        world = World(models=1000, hours=hours)
        world.run()
        new = sum(name.startswith("new-") for name, _ in world.cells)
        tell(f"{hours:g} h: cells probed, {world.plans} plans", f"{sum(world.probed.values())}")
        told = ", ".join(f"{line.runtime} {count}" for line, count in sorted(world.probed.items()))
        tell("  by runtime", told)
        waits = world.first_wait
        tell("  a new model waits for its first probe, at most", f"{max(waits.values()):.1f} h ({len(waits)} of {new})")
        tell("  longest row of days without a verdict", f"{max(world.day_less.values())}")


def _record(store: Store) -> list[Subject]:
    """Record a run of each of 10,000 cells; no check, for planning asks for none."""
    names = [f"acme/model-{number}" for number in range(MODELS)]
    subjects = [Subject(one, one, SubjectForm.MINIATURE, "arch", "files", qualified=True) for one in names]
    store.record_catalogue([Model(one, one, "arch", ModelKind.DENSE, "acme", None, "") for one in names], subjects)
    for line in LINES:
        environment = EnvironmentRecord(
            f"env-{line.runtime}", line.runtime, "1.0", PLATFORM, "base", "", {str(line.runtime): "1.0"}, NOW
        )
        store.record_resolution(
            ResolutionRecord(
                f"resolution-{line.runtime}", NOW.date(), Origin.LIVE, *line, PLATFORM, "", "1.0", NOW, NOW, 1.0,
                environment_digest=environment.digest,
            ),
            environment,
        )  # fmt: skip
        session = f"session-{line.runtime}"
        store.begin_session(
            SessionRecord(session, f"resolution-{line.runtime}", environment.digest, "suite", "none", False, 1, {}, NOW)
        )
        fingerprint = Fingerprint(environment.digest, "suite", "files")
        for subject in subjects:
            cell = Cell(subject.id, line.runtime, line.channel, PLATFORM)
            verdicts.record_run(
store, RunRecord(
                    cell, f"resolution-{line.runtime}", session, NOW.date(), Origin.LIVE, Purpose.PROBE, "1.0",
                    fingerprint, solo=True, started_at=NOW, ending=Ending(engine_fault="none"),
                    session=read_events(b"", [subject.id]),
                )
            )  # fmt: skip
    return subjects


def _measure_tick(store: Store, subjects: list[Subject]) -> None:
    title(f"{len(subjects) * len(LINES):,} cells, everything measured today")
    watched = Watched(subjects, {})
    runtimes = tuple(line.runtime for line in LINES)
    config = Config.model_validate({"runtimes": runtimes})
    scope = Scope(PLATFORM, watched, LINES, dict.fromkeys(runtimes, "suite"), config.daemon)
    found = survey(store, scope, NOW)
    asking = timed(lambda: survey(store, scope, NOW))
    planning = timed(lambda: plan(found.cells, found.offers, found.budget, NOW))
    tell("asking the database how everything stands", f"{asking:.2f} s")
    tell_aim("planning", planning, "below 1 s", met=planning < 1)
    quiet: Any = SimpleNamespace(message=lambda _: None)
    clock = SimpleNamespace(now=lambda: NOW, sleep=lambda _: None)
    connected: list[str] = []

    @contextmanager
    def connect() -> Iterator[Any]:
        connected.append("an engine")
        yield

    state = DaemonState(config, store, quiet, clock, lambda: watched, lambda _: "suite", connect, platform=PLATFORM)

    steps = (Step("probing", probe_what_is_due),)
    full = timed(lambda: tick.tick(state, steps))
    before = _resident()
    first = timed(lambda: [tick.tick(state, steps) for _ in range(TICKS)]) / TICKS
    gc.collect()
    grown = _resident() - before
    assert not connected, "a container was about to be made"
    tell("the first tick with nothing due weighs everything", f"{full:.2f} s")
    tell_aim("a further one, milliseconds", first * 1000, "below 50", met=first < 0.05)
    tell("weighing everything each time / this", f"{full / first:.0f}")
    tell_aim(f"memory grown in {TICKS:,} ticks, MiB", grown / (1 << 20), "below 2", met=grown < 2 << 20)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
