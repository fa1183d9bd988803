"""The loop: ticks until a signal stops it, with the clock and the one lock on the database."""

from __future__ import annotations

import time
from functools import cache, partial
from typing import TYPE_CHECKING

from monitor.daemon.steps import STEPS, subjects_to_watch
from monitor.daemon.tick import DaemonState, tick
from monitor.daemon.watching import observed
from monitor.progress import utc_now
from monitor.store import open_store
from monitor.wire.bundle import suite_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from monitor.config.settings import Config
    from monitor.daemon.tick import Clock, EngineTools, Step
    from monitor.domain import Subject
    from monitor.progress import Progress

_NAP_S = 60.0


class SystemClock:
    now = staticmethod(utc_now)
    sleep = staticmethod(time.sleep)


def watch(
    config: Config,
    progress: Progress,
    *,
    connect: Callable[..., AbstractContextManager[EngineTools]],
    subjects: Sequence[Subject],
    discovered: bool = True,
    clock: Clock | None = None,
    steps: Sequence[Step] = STEPS,
) -> None:
    """Tick for ever. Ends by the exception that a signal raises; unfinished work is ended on the way out.

    ``connect`` opens what a step works with, as ``run_context`` does; it raises InfraError where no engine answers.
    """
    clock = clock or SystemClock()
    with open_store(config.home) as store, observed(config, clock, progress) as observers:
        state = DaemonState(
            config,
            store,
            observers.progress,
            clock,
            subjects_to_watch(store, config, subjects, discovered=discovered),
            cache(suite_of),
            partial(connect, config, store, observers.progress, now=clock.now, sleep=clock.sleep),
        )
        progress.message(f"watching {len(subjects)} models in {', '.join(config.runtimes)}")
        while True:
            next_tick = tick(state, steps)
            observers.ticked(state)
            pause(clock, next_tick)


def pause(clock: Clock, until: datetime) -> None:
    """Sleep in naps: a clock that is set forward ends the pause, and one that is set back does not prolong it."""
    left = (until - clock.now()).total_seconds()
    while left > 0 and clock.now() < until:
        clock.sleep(min(left, _NAP_S))
        left -= _NAP_S
