"""The daemon's last steps: write what is news into the outbox, its own lasting troubles with it, and send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.alerts.gathering import DAEMON
from monitor.alerts.steps import send_alerts, write_alerts
from monitor.alerts.words import Trouble

if TYPE_CHECKING:
    from monitor.daemon.tick import Life

LASTING = 4  # failures in a row of one step, about a quarter of an hour: less may come back by itself


def write_news(life: Life) -> None:
    write_alerts(life.store, life.config.alerts, life.clock.now(), own_troubles(life))


def send_news(life: Life) -> None:
    send_alerts(life.store, life.config.alerts, life.clock.now(), life.talk)


def own_troubles(life: Life) -> list[Trouble] | None:
    """Return which steps have failed for long; None where that cannot be said yet, as soon after a start."""
    lasting = [
        Trouble(f"{DAEMON}{name}", f"{name}: {wait.why}")
        for name, wait in life.waits.items()
        if wait.failures >= LASTING
    ]
    return None if life.waits and not lasting else lasting
