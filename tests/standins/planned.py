"""A world for the planner alone: models and releases come by chance, every probe answers at once and costs its time."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from monitor.domain import CellVerdict, Channel, Runtime
from monitor.schedule.plan import YOUNG, Budget, LastDay, Offer, PlannedCell, ReleaseLine, plan

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ONE_DAY = timedelta(days=1)
LINES = [
    ReleaseLine(runtime, Channel.STABLE)
    for runtime in (Runtime.TRANSFORMERS, Runtime.VLLM, Runtime.XLLAMACPP, Runtime.LLAMA_CPP_PYTHON, Runtime.OLLAMA)
]
SECONDS = dict(zip(LINES, (0.5, 40.0, 3.0, 5.0, 10.0), strict=True))  # a cell
RELEASES_EVERY = dict(zip(LINES, (7, 14, 2, 20, 2), strict=True))  # days


@dataclass
class World:
    """``models`` at the start, and one more now and then; ``hours`` of probing a day for all lines together."""

    models: int
    hours: float
    days: int = 90
    seed: int = 1
    arrivals: float = 1.0  # models a day
    cells: dict[tuple[str, ReleaseLine], PlannedCell] = field(default_factory=dict)
    spent: list[tuple[datetime, ReleaseLine, float]] = field(default_factory=list)
    probed: Counter[ReleaseLine] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)  # days on which a young model was not measured, by model
    first_wait: dict[tuple[str, ReleaseLine], float] = field(
        default_factory=dict
    )  # hours from its birth to its first probe
    day_less: dict[tuple[str, ReleaseLine], int] = field(default_factory=dict)  # longest row of days without a verdict
    plans: int = 0

    def run(self) -> None:
        chance = random.Random(self.seed)  # noqa: S311 - repeatable, not secret
        for number in range(self.models):
            self._add(f"old-{number}", (FIRST - timedelta(days=chance.randrange(40, 700))).date())
        now = FIRST
        for day in range(self.days):
            now = max(now, FIRST + day * ONE_DAY)
            if chance.random() < self.arrivals:
                self._add(f"new-{day}", now.date())
            now = self._day(now, day)
            self._close(now.date() if now < FIRST + (day + 1) * ONE_DAY else (FIRST + day * ONE_DAY).date())

    def _add(self, name: str, born: date) -> None:
        for line in LINES:
            self.cells[name, line] = PlannedCell(name, line, born, "files")

    def _day(self, now: datetime, day: int) -> datetime:
        end = FIRST + (day + 1) * ONE_DAY
        offers = {
            line: Offer(f"1.{day // RELEASES_EVERY[line]}", f"1.{day // RELEASES_EVERY[line]}", "suite")
            for line in LINES
        }
        while now < end:
            made = plan(list(self.cells.values()), offers, self._budget(now), now)
            self.plans += 1
            for line, names in made.carried.items():
                for name in names:
                    one = self.cells[name, line]
                    assert one.latest is not None
                    self.cells[name, line] = replace(one, latest=replace(one.latest, day=now.date()))
            if not made.jobs:
                # a budget that is used up comes back little by little
                now = min(made.again_at, end) if not made.waiting else min(now + timedelta(hours=1), end)
                continue
            for job in made.jobs:
                for name, _ in job.wanted:
                    self._probe(name, job.line, offers[job.line], now)
                self.spent.append((now, job.line, job.seconds))
                now += timedelta(seconds=job.seconds)
        return now

    def _probe(self, name: str, line: ReleaseLine, offer: Offer, now: datetime) -> None:
        one = self.cells[name, line]
        today = now.date()
        since = one.latest.since if one.latest else today
        latest = LastDay(today, CellVerdict.WORKS, since, today, offer, "lock", "files", last_run_at=now)
        self.cells[name, line] = replace(one, latest=latest)
        self.probed[line] += 1
        if (name, line) not in self.first_wait and name.startswith("new-"):
            born = datetime.combine(one.born, datetime.min.time(), UTC)
            self.first_wait[name, line] = (now - born) / timedelta(hours=1)

    def _budget(self, now: datetime) -> Budget:
        within = [(line, seconds) for at, line, seconds in self.spent if at > now - ONE_DAY]
        spent: dict[ReleaseLine, float] = {}
        for line, seconds in within:
            spent[line] = spent.get(line, 0.0) + seconds
        return Budget(3600.0, self.hours * 3600 - sum(spent.values()), spent, SECONDS)

    def _close(self, today: date) -> None:
        """Look back on a day and count who has no verdict of it."""
        self.spent = [one for one in self.spent if one[0].date() >= today - ONE_DAY]
        for (name, line), one in self.cells.items():
            without = (today - one.latest.day).days if one.latest else (today - max(one.born, FIRST.date())).days + 1
            self.day_less[name, line] = max(self.day_less.get((name, line), 0), without)
            if without > 0 and today - one.born < YOUNG:
                self.late[name] += 1
