"""The daemon's last steps: write what is news into the outbox, its own lasting troubles with it, and send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.alerts.inputs import DAEMON
from monitor.alerts.steps import send_alerts, write_alerts
from monitor.alerts.values import Trouble

if TYPE_CHECKING:
    from monitor.daemon.tick import DaemonState

LASTING = 4  # failures in a row of one step, about a quarter of an hour: less may come back by itself


def write_news(state: DaemonState) -> None:
    write_alerts(state.store, state.config.alerts, state.clock.now(), own_troubles(state))


def send_news(state: DaemonState) -> None:
    send_alerts(state.store, state.config.alerts, state.clock.now(), state.progress)


def own_troubles(state: DaemonState) -> list[Trouble] | None:
    """Return which steps have failed for long; None where that cannot be said yet, as soon after a start."""
    lasting = [
        Trouble(f"{DAEMON}{name}", f"{name}: {wait.reason}")
        for name, wait in state.waits.items()
        if wait.failures >= LASTING
    ]
    return None if state.waits and not lasting else lasting
