"""What the loop tells all that watch it, and how long a silence may last before it means something."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from monitor.config.settings import Config

_TICKS = 3  # one may be late, and the one after it


@dataclass(frozen=True, slots=True)
class Heartbeat:
    at: datetime
    tick: int
    waiting_for: str = ""  # as it would end the sentence "it waits for ..."
    jobs_done: Mapping[str, int] = field(default_factory=dict)  # since the daemon's start, by reason
    last_fault: str = ""  # of ours, as a sentence; "" when there was none


class Pulse:
    """The last heartbeat and its age; the loop writes it, and any thread may read it."""

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        # the age is measured by a clock that nobody sets: a machine whose time is put right has not stood still
        self._clock, self._patience_s = clock, patience_s
        self._last: tuple[float, Heartbeat | None] = (clock(), None)

    def beat(self, heartbeat: Heartbeat) -> None:
        self._last = (self._clock(), heartbeat)

    @property
    def heartbeat(self) -> Heartbeat | None:
        return self._last[1]

    @property
    def age_s(self) -> float:
        """Return the seconds since the last heartbeat, or since the start before there was one."""
        return self._clock() - self._last[0]

    @property
    def stale(self) -> bool:
        return self.age_s > self._patience_s


def patience_s(config: Config) -> float:
    """Return how long a living daemon may be silent: some ticks, and the longest step that says nothing."""
    return _TICKS * config.daemon.tick_seconds + config.limits.install_seconds
