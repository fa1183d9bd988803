"""Looks up in the database what stands behind a summary: reasons, runs, locks, and what a replay could not rebuild."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monitor.judge.lock_diff import Moved, moved
from monitor.stability.values import Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.report.summary import Summary
    from monitor.stability.values import Observation, Setback
    from monitor.store import Reader, Track

MOST_MOVED = 12


@dataclass(frozen=True, slots=True)
class Told:
    """What a day of a cell says of itself."""

    day: date
    version: str
    verdict: str
    reason: str  # and the day's note; "" where it works and nothing is to be noted
    run: str
    environment: str
    blame: str
    signature: str  # equal failures have equal ones


@dataclass(frozen=True, slots=True)
class Change:
    """A day on which a cell stood on another lock than before, or said something else."""

    before: Told | None
    after: Told
    moved: tuple[Moved, ...]


class Evidence:
    """Answers from one open database; what is asked again is remembered."""

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._packages: dict[str, Mapping[str, str]] = {}
        self._days: dict[str, dict[date, Told]] = {}

    def on(self, cell: str, day: date | None) -> Told | None:
        return self._told(cell).get(day) if day is not None else None

    def of_setback(self, track: Track, setback: Setback) -> tuple[Told | None, tuple[Moved, ...]]:
        """Return what the first broken day says, and what had moved since the last good one."""
        return self.between(track, setback.began)

    def between(self, track: Track, span: Span) -> tuple[Told | None, tuple[Moved, ...]]:
        before, after = self.on(track.cell, span.after), self.on(track.cell, span.by)
        return after, self._moved(before, after) if before and after else ()

    def moved_over(self, track: Track, before: Observation, after: Observation) -> tuple[Moved, ...]:
        """Return what moved in the lock between two days of a track."""
        return self.between(track, Span(before.day, after.day))[1]

    def changes(self, cell: str) -> list[Change]:
        found: list[Change] = []
        before: Told | None = None
        for _, told in sorted(self._told(cell).items()):
            if before is None or (told.environment, told.verdict) != (before.environment, before.verdict):
                found.append(Change(before, told, self._moved(before, told) if before else ()))
            before = told
        return found

    def caveats(self, summary: Summary) -> list[str]:
        """Return what could not be rebuilt as it was, and what was taken for granted, as sentences."""
        runtime = summary.lines[0].track.runtime
        sentences = [
            f"{row['package']} {row['version']} stands in for the {row['package']} of {row['days']} past days, which"
            f" cannot be rebuilt ({row['why']})"
            for row in self._store.departures(runtime)
        ]
        return [*sentences, *self._on_days(summary), *self._on_yanks(summary)]

    def _on_days(self, summary: Summary) -> list[str]:
        taken = self._store.days_taken_for_granted(summary.lines[0].track.runtime)
        whole = (summary.through - summary.first).days + 1
        said = (
            f"{taken} of {whole} days were not resolved themselves: between the days that were, a user is taken to have"
            " kept what was installed"
        )
        return [said] if taken else []

    def _on_yanks(self, summary: Summary) -> list[str]:
        runtime = summary.lines[0].track.runtime
        yanked = [
            one.version
            for one in self._store.releases(runtime)
            if one.yanked and summary.first <= one.published_at.date() <= summary.through
        ]
        said = (
            f"{runtime} {', '.join(yanked)} has been yanked since, nobody knows when: days are resolved as today, so it"
            " is not in this history"
        )
        return [said] if yanked else []

    def _told(self, cell: str) -> dict[date, Told]:
        if cell not in self._days:
            self._days[cell] = {
                date.fromisoformat(row["day"]): Told(
                    date.fromisoformat(row["day"]),
                    row["version"],
                    row["verdict"],
                    "; ".join(filter(None, ("" if row["verdict"] == "works" else row["reason"], row["note"]))),
                    row["run"],
                    row["environment"],
                    row["blame"] or "",
                    row["signature"],
                )
                for row in self._store.days_of(cell)
            }
        return self._days[cell]

    def _moved(self, before: Told, after: Told) -> tuple[Moved, ...]:
        return moved(self._packages_of(before.environment), self._packages_of(after.environment))

    def _packages_of(self, environment: str) -> Mapping[str, str]:
        if environment not in self._packages:
            self._packages[environment] = self._store.packages(environment)
        return self._packages[environment]


def moved_text(changes: Sequence[Moved], *, first: str = "") -> str:
    """Write what moved, the package named ``first`` before the others; of very many only some."""
    ordered = sorted(changes, key=lambda one: (one.package != first, one.package))
    shown = [str(one) for one in ordered[:MOST_MOVED]]
    more = len(ordered) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])])
