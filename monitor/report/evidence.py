"""Looks up what stands behind a verdict: reasons, runs, locks, logs, and the limits of a replayed history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monitor.domain import Cell
from monitor.judge.lock_diff import moved
from monitor.store.renaming import names_over_time
from monitor.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.judge.lock_diff import Moved
    from monitor.report.summary import Summary
    from monitor.stability.values import Span
    from monitor.store import Reader


@dataclass(frozen=True, slots=True)
class DayEvidence:
    """One day of a cell, with the run that shows it."""

    day: date
    version: str
    verdict: str
    reason: str  # and the day's note; "" where it works without a note
    run: str
    environment: str
    blame: str
    signature: str  # equal failures have equal signatures


@dataclass(frozen=True, slots=True)
class DayChange:
    """A day on which a cell's lock or verdict differs from the day before."""

    before: DayEvidence | None
    after: DayEvidence
    moved: tuple[Moved, ...]


class Evidence:
    """Reads one open database, each cell and each environment once."""

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._packages: dict[str, Mapping[str, str]] = {}
        self._days: dict[str, dict[date, DayEvidence]] = {}

    def on(self, cell: str, day: date | None) -> DayEvidence | None:
        return self._days_of(cell).get(day) if day is not None else None

    def between(self, cell: str, span: Span) -> tuple[DayEvidence | None, tuple[Moved, ...]]:
        """Return the evidence of the span's last day, and what moved in the lock since the day before the span."""
        before, after = self.on(cell, span.after), self.on(cell, span.by)
        return after, self.moved(before, after) if before and after else ()

    def changes(self, cell: str) -> list[DayChange]:
        changes: list[DayChange] = []
        before: DayEvidence | None = None
        for _, day in sorted(self._days_of(cell).items()):
            if before is None or (day.environment, day.verdict) != (before.environment, before.verdict):
                changes.append(DayChange(before, day, self.moved(before, day) if before else ()))
            before = day
        return changes

    def _days_of(self, cell: str) -> dict[date, DayEvidence]:
        if cell not in self._days:
            self._days[cell] = {
                date.fromisoformat(row["day"]): DayEvidence(
                    day=date.fromisoformat(row["day"]),
                    version=row["version"],
                    verdict=row["verdict"],
                    reason="; ".join(filter(None, ("" if row["verdict"] == "works" else row["reason"], row["note"]))),
                    run=row["run"],
                    environment=row["environment"],
                    blame=row["blame"] or "",
                    signature=row["signature"],
                )
                for row in self._store.report.days_of(cell)
            }
        return self._days[cell]

    def days(self, cell: str) -> list[DayEvidence]:
        """Return the cell's days, oldest first."""
        return [day for _, day in sorted(self._days_of(cell).items())]

    def moved(self, before: DayEvidence, after: DayEvidence) -> tuple[Moved, ...]:
        """Return the packages that differ between the environments of two results."""
        return moved(self._packages_of(before.environment), self._packages_of(after.environment))

    def _packages_of(self, environment: str) -> Mapping[str, str]:
        if environment not in self._packages:
            self._packages[environment] = self._store.report.packages(environment)
        return self._packages[environment]


def caveats(store: Reader, summary: Summary) -> list[str]:
    """Return, as sentences, which past days could not be rebuilt as they were, and what is assumed."""
    runtime = summary.lines[0].track.runtime
    sentences = [
        f"On {row['days']} past days, {row['package']} {row['version']} replaces the {row['package']} of that day,"
        f" which cannot be installed any more (for example: {row['why']})."
        for row in store.report.departures(runtime)
    ]
    if assumed := store.report.days_without_a_resolution(runtime):
        days = (summary.through - summary.first).days + 1
        sentences.append(
            f"{days - assumed} of {days} days were resolved; on the other {assumed} the environment is assumed"
            " unchanged."
        )
    yanked = [
        release.version
        for release in store.releases(runtime)
        if release.yanked and summary.first <= release.published_at.date() <= summary.through
    ]
    if len(yanked) == 1:
        sentences.append(f"{runtime} {yanked[0]} was yanked later (date unknown), so it is missing here.")
    elif yanked:
        versions = f"{', '.join(yanked[:-1])} and {yanked[-1]}"
        sentences.append(f"{runtime} {versions} were yanked later (date unknown), so they are missing here.")
    return sentences


def log_of(store: Reader, digest: str, cell_id: str) -> str:
    """Return what a run's container printed: from a shared session only the lines of this cell's subject."""
    raw = store.log(digest) if digest else None
    text = printable((raw or b"").decode("utf-8", errors="replace"))
    for name in names_over_time(Cell.parse(cell_id).subject_id):
        _, marker, rest = text.partition(f"=== subject {name} ===\n")
        if marker:
            return rest.partition("=== subject ")[0]
    return text
