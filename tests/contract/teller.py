"""A process that only writes and sends alerts, and dies where it is told to: at the nth statement to the database.

``python -m tests.contract.teller once HOME CONFIG MOMENT`` does it once, ``everywhere`` for each n in a copy of HOME
(``{n}`` in the addresses is filled in) until nothing is left to die at, each time with an undisturbed start after it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import monitor.alerts.sending  # noqa: F401 - loaded once, for all that are forked
from monitor.alerts.steps import send_alerts, write_alerts
from monitor.config.load import load_config
from monitor.progress import ConsoleProgress
from monitor.store import open_store

LATER = timedelta(hours=1)  # after whatever pause was due


@dataclass
class Death:
    """Kills this process before the nth statement, as nothing else could foresee."""

    statements: int

    def __call__(self, _: str) -> None:
        self.statements -= 1
        if self.statements < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def tell(home: Path, config: Path, now: datetime, *, die_at: int | None = None) -> None:
    settings = load_config(config, {"SETTLE_HOME": str(home)}).alerts
    with open_store(home) as store:
        if die_at is not None:
            store._db.conn.set_trace_callback(Death(die_at))
        write_alerts(store, settings, now)
        send_alerts(store, settings, now, ConsoleProgress(), env=os.environ)
        store._db.conn.set_trace_callback(None)


def everywhere(home: Path, config: Path, now: datetime) -> None:
    for number in itertools.count():
        copy, own = home.with_name(f"home-{number}"), home.with_name(f"{number}.toml")
        shutil.copytree(home, copy)
        own.write_text(config.read_text(encoding="utf-8").replace("{n}", str(number)), encoding="utf-8")
        died = _forked(copy, own, now, number)
        if _forked(copy, own, now + LATER, None):
            sys.exit(f"died without being told to, after statement {number}")
        print(number, "died" if died else "lived", flush=True)  # noqa: T201 - whoever started this reads it
        if not died:
            return


def _forked(home: Path, config: Path, now: datetime, die_at: int | None) -> bool:
    pid = os.fork()
    if pid == 0:
        tell(home, config, now, die_at=die_at)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return status != 0


if __name__ == "__main__":
    how, home, config, moment = sys.argv[1:]
    {"once": tell, "everywhere": everywhere}[how](Path(home), Path(config), datetime.fromisoformat(moment))
