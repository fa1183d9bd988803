"""What the daemon tells of days that it lives through, its own troubles among them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.config.settings import Config
from monitor.daemon import tick
from monitor.daemon.loop import pause
from monitor.daemon.steps import STEPS
from tests.local.test_daemon import OLD, YOUNG, days
from tests.standins.days import FIRST

if TYPE_CHECKING:
    from tests.local.test_daemon import Days

__all__ = ["days"]  # the fixture
UNSENT = tuple(step for step in STEPS if step.name in {"probing", "news"})
ALERTS = {"targets": [{"name": "ops", "url": "json://127.0.0.1:9", "digest": False}]}


def live(days: Days, hours: int) -> list[str]:
    """Let time pass, and return the titles of all that was written by then, without what is said of versions."""
    days.state.config = Config.model_validate({"daemon": {"tick_seconds": 1800}, "alerts": ALERTS})
    end = days.clock.at + timedelta(hours=hours)
    while days.clock.at < end:
        pause(days.clock, min(end, tick.tick(days.state, UNSENT)))
    return [row["title"] for row in reversed(days.store.outbox.letters(most=99))]


def test_a_release_that_breaks_something_is_told_once_and_what_was_there_before_is_not(days: Days) -> None:
    days.releases[FIRST + timedelta(days=1)] = "5.1.0"
    days.broken = {(YOUNG, "5.1.0")}
    assert live(days, 12) == []
    assert live(days, 72) == ["setback: acme/young in transformers 5.1.0"]
    assert OLD not in str(days.store.outbox.letters(most=9))


def test_an_engine_that_is_away_is_told_when_it_lasts_and_when_it_is_back(days: Days) -> None:
    live(days, 12)
    days.releases[FIRST + timedelta(days=1)] = "5.1.0"
    days.engine = False
    away = ["trouble: probing: no engine answers"]
    assert live(days, 16) == away
    assert live(days, 5) == away
    days.engine = True
    assert live(days, 5) == [*away, "Resolved: probing. The step works again."]
