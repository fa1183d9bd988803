"""What /healthz answers: the last heartbeat of the loop, and what was recorded last."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.errors import SettleError
from monitor.store import open_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from monitor.config.settings import Config

_TICKS = 3  # one may be late, and the one after it


@dataclass(frozen=True, slots=True)
class Heartbeat:
    at: datetime
    tick: int
    waiting_for: str = ""  # completes the sentence "it waits for ..."
    jobs_done: Mapping[str, int] = field(default_factory=dict)  # since the daemon's start, by reason
    last_fault: str = ""  # the last infra fault as a sentence, "" when there was none


class Pulse:
    """The last heartbeat and its age; the loop writes it, and any thread may read it."""

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        # the age is measured by the monotonic clock: setting the machine's time does not stop the daemon
        self._clock, self._patience_s = clock, patience_s
        self._last: tuple[float, Heartbeat | None] = (clock(), None)

    def beat(self, heartbeat: Heartbeat) -> None:
        self._last = (self._clock(), heartbeat)

    @property
    def heartbeat(self) -> Heartbeat | None:
        return self._last[1]

    @property
    def age_s(self) -> float:
        """Return the seconds since the last heartbeat, or since the start before the first one."""
        return self._clock() - self._last[0]

    @property
    def stale(self) -> bool:
        return self.age_s > self._patience_s


def patience_s(config: Config) -> float:
    """Return how long a living daemon may be silent: some ticks, and the longest step without a message."""
    return _TICKS * config.daemon.tick_seconds + config.limits.install_seconds


def health_of(home: Path, pulse: Pulse | None) -> dict[str, Any]:
    """Return what /healthz answers. ``pulse`` is None outside the daemon, where nothing is known of its loop."""
    try:
        with open_reader(home) as store:
            return health(pulse, store.last_recorded())
    except SettleError as error:
        return health(pulse, {}, problem=str(error))


def health(pulse: Pulse | None, recorded: Mapping[str, Any], *, problem: str = "") -> dict[str, Any]:
    """Return health as JSON; all is well unless the loop is silent for too long or the database cannot be read."""
    last = pulse.heartbeat if pulse else None
    status = "ok" if last or pulse is None else "starting"
    if pulse and pulse.stale:
        status = "stale"
    elif problem:
        status = "unreadable"
    return {
        "well": status in {"ok", "starting"},
        "status": status,
        "age_seconds": round(pulse.age_s, 1) if pulse else None,
        "tick": last.tick if last else None,
        "last_tick": last.at.isoformat() if last else None,
        "waiting_for": last.waiting_for if last else "",
        "jobs_done": dict(last.jobs_done) if last else {},
        "last_fault": last.last_fault if last else "",
        "last_run": recorded.get("last_run"),
        "last_day": recorded.get("last_day"),
        "problem": problem,
    }
