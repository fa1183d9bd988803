"""The daemon as it is, but for its clock: time passes when it sleeps, and every new day waits to be let in.

Run as `python -m tests.worlds.living CONFIG DAYS FIRST LAST SUBJECT...`; whoever lets the days in does it by the files
of the folder DAYS, which lies outside of the home: that may be full.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from monitor.cli import Stopped, stop_on_signals
from monitor.config.load import load_config
from monitor.daemon.loop import watch
from monitor.errors import SettleError
from monitor.progress import ConsoleProgress
from monitor.runner.context import run_context
from monitor.subjects.catalogue import load_catalogue


class Over(BaseException):
    """The last day has passed."""


@dataclass
class Clock:
    """Goes as fast as one sleeps, and goes on where a killed one stopped; ``days`` holds it and the days let in."""

    days: Path
    last: date
    at: datetime
    real: float = 0.0
    day: date = date.min

    def now(self) -> datetime:
        real = time.monotonic()
        self.at += timedelta(seconds=real - self.real if self.real else 0.0)
        self.real = real
        if self.at.date() > self.day:
            self._wait_for(self.at.date())
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self._keep()
        self.now()

    def _wait_for(self, day: date) -> None:
        if day > self.last:
            raise Over
        self._keep()
        (self.days / f"{day}.asked").touch()
        while not (self.days / f"{day}.let-in").exists():
            time.sleep(0.02)
        self.real, self.day = time.monotonic(), day

    def _keep(self) -> None:
        aside = self.days / f"clock.{os.getpid()}"
        aside.write_text(self.at.isoformat(), encoding="ascii")
        aside.replace(self.days / "clock")


def main(config: str, folder: str, first: str, last: str, *names: str) -> None:
    settings = load_config(Path(config))
    days = Path(folder)
    kept = days / "clock"
    begin = datetime.combine(date.fromisoformat(first), datetime.min.time(), UTC)
    at = datetime.fromisoformat(kept.read_text(encoding="ascii")) if kept.exists() else begin
    subjects = [subject for subject in load_catalogue().subjects() if subject.id in names]
    stop_on_signals()
    try:
        clock = Clock(days, date.fromisoformat(last), at)
        watch(settings, ConsoleProgress(), connect=run_context, subjects=subjects, clock=clock)
    except Over:
        sys.exit(0)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except SettleError as error:
        sys.exit(f"settle: {error} ({error.hint})")


if __name__ == "__main__":
    main(*sys.argv[1:])
