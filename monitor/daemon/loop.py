"""The loop: ticks until it is stopped, with the clock, the one lock on the database, and all that watch it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from monitor.daemon.health import serve_health
from monitor.daemon.heartbeat import Heartbeat, Pulse, patience_s
from monitor.daemon.metrics import metrics_of
from monitor.daemon.ping import ping
from monitor.daemon.signs import HeartbeatProgress
from monitor.daemon.steps import STEPS, subjects_to_watch
from monitor.daemon.systemd import Supervisor
from monitor.daemon.tick import DaemonState, tick
from monitor.sources.access import install_settings
from monitor.store import open_store
from monitor.wire.bundle import suite_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.config.settings import Config
    from monitor.daemon.tick import Clock, Step
    from monitor.domain import Subject
    from monitor.progress import Progress

_NAP_S = 60.0


class SystemClock:
    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds)


def watch(
    config: Config,
    progress: Progress,
    *,
    subjects: Sequence[Subject],
    discovered: bool = True,
    clock: Clock | None = None,
    steps: Sequence[Step] = STEPS,
) -> None:
    """Tick for ever. Ends by what a signal raises; whatever was begun is ended on the way out."""
    clock = clock or SystemClock()
    with open_store(config.home) as store, _seen_by_others(config, clock, progress) as seen:
        state = DaemonState(
            config,
            store,
            seen.progress,
            clock,
            subjects_to_watch(store, config, subjects, discovered=discovered),
            cache(suite_of),
        )
        progress.message(f"watching {len(subjects)} models in {', '.join(config.runtimes)}")
        while True:
            again_at = tick(state, steps)
            seen.ticked(state)
            pause(clock, again_at)


def pause(clock: Clock, until: datetime) -> None:
    """Let time pass in naps: one that is set forward ends it, and one that is set back does not prolong it."""
    left = (until - clock.now()).total_seconds()
    while left > 0 and clock.now() < until:
        clock.sleep(min(left, _NAP_S))
        left -= _NAP_S


class _Seen:
    """What others see of the loop: health, figures, systemd, and a dead man's switch."""

    def __init__(self, config: Config, clock: Clock, progress: Progress) -> None:
        self._config, self._clock = config, clock
        self.pulse, self.supervisor = Pulse(patience_s(config)), Supervisor.of(os.environ)
        self.progress: Progress = HeartbeatProgress(progress, self._beat)
        self._ticks, self._last = 0, Heartbeat(clock.now(), 0)
        self._beaten = self._pinged = 0.0

    def ticked(self, state: DaemonState) -> None:
        self._ticks += 1
        self._last = Heartbeat(
            at=self._clock.now(),
            tick=self._ticks,
            waiting_for="; ".join(f"{name}: {wait.why}" for name, wait in state.waits.items()),
            jobs_done={str(reason): count for reason, count in state.done.items()},
            last_fault=state.last_fault,
        )
        self._beat(now=True)
        if not state.waits and time.monotonic() - self._pinged >= self._config.daemon.tick_seconds:
            ping(self._config.daemon.ping_url.get_secret_value(), install_settings(self._config), self.progress)
            self._pinged = time.monotonic()

    def _beat(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._beaten >= 1:
            self._beaten = time.monotonic()
            self.pulse.beat(self._last)
            self.supervisor.beat(self._last)


@contextmanager
def _seen_by_others(config: Config, clock: Clock, progress: Progress) -> Iterator[_Seen]:
    seen = _Seen(config, clock, progress)
    with serve_health(config.daemon.listen, seen.pulse, metrics_of(config.home, seen.pulse)) as address:
        if address:
            progress.message(f"{address}/healthz tells how it goes, {address}/metrics in figures")
        seen.supervisor.ready()
        try:
            yield seen
        finally:
            seen.supervisor.stopping("stopping")
