"""The loop: ticks until it is stopped, with the clock, the signals and the one lock on the database."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from monitor.bundle import suite_of
from monitor.catalogue import load_catalogue
from monitor.daily import Watched
from monitor.store import open_store
from monitor.telling import send_news, write_news
from monitor.tick import Life, Step, probe_what_is_due, tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.config import Config
    from monitor.talk import Talk
    from monitor.tick import Clock
    from monitor.words import Subject

STEPS = (Step("probing", probe_what_is_due), Step("news", write_news), Step("sending", send_news))
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
    talk: Talk,
    *,
    subjects: Sequence[Subject],
    clock: Clock | None = None,
    steps: Sequence[Step] = STEPS,
) -> None:
    """Tick for ever. Ends by what a signal raises; whatever was begun is ended on the way out."""
    clock = clock or SystemClock()
    watched = Watched(subjects, {model.id: model.released for model in load_catalogue().models})
    with open_store(config.home) as store:
        life = Life(config, store, talk, clock, lambda: watched, cache(suite_of))
        talk.say(f"watching {len(subjects)} models in {', '.join(config.runtimes)}")
        while True:
            pause(clock, tick(life, steps))


def pause(clock: Clock, until: datetime) -> None:
    """Let time pass in naps: one that is set forward ends it, and one that is set back does not prolong it."""
    left = (until - clock.now()).total_seconds()
    while left > 0 and clock.now() < until:
        clock.sleep(min(left, _NAP_S))
        left -= _NAP_S
