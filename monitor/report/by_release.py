"""What results by release add to a history: sentences, a table, and days on which a release is known to work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict, InstalledAsOf
from monitor.report.format import Section
from monitor.stability.values import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.store import Reader

Row = dict[str, Any]
_COLUMNS = (
    "release",
    "packages as of",
    "verdict",
    "matches",
    "serves",
    "trains",
    "torch",
    "transformers",
    "blame",
    "reason",
    "run",
)


@dataclass(frozen=True, slots=True)
class ByRelease:
    """The results of pinned versions, by cell; versions in their order."""

    rows: Mapping[str, Sequence[Row]]

    def of(self, cell: str) -> Sequence[Row]:
        return self.rows.get(cell, ())

    def works_in(self, cell: str) -> str:
        """Return the releases in which the cell works by hand as a phrase, "" without any."""
        versions = list(dict.fromkeys(row["version"] for row in self.of(cell) if row["verdict"] == CellVerdict.WORKS))
        if not versions:
            return ""
        return versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]} ({len(versions)} releases)"

    @property
    def observations(self) -> dict[str, list[Observation]]:
        """Return, by cell, what is known of release days: on that day a user got this version and these packages."""
        return {cell: [_observation(row) for row in rows if _of_release_day(row)] for cell, rows in self.rows.items()}


def read_by_release(store: Reader, **wanted: str) -> ByRelease:
    """Return the results by hand of all cells whose columns equal what is wanted."""
    cells: dict[str, list[Row]] = {}
    for row in store.by_release(**wanted):
        if row["by_hand"]:
            cells.setdefault(row["cell"], []).append(row)
    return ByRelease(cells)


def packages_as_of(row: Mapping[str, Any]) -> str:
    """Return the day whose packages stand beside a version, and what day that is."""
    meaning = {str(InstalledAsOf.RELEASE_DAY): ", its release day", str(InstalledAsOf.RUN_DAY): ", by hand"}
    return f"{row['day']}{meaning.get(row['installed'], ', daily history')}"


def release_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    """Yield the table of one cell's results by hand, nothing without any."""
    if rows:
        note = (
            "Pinned versions, outside the daily history, with the packages of their release day or of another day. A"
            " failure that only newer packages bring is blamed on the dependency."
        )
        yield Section("By release", (note,), _COLUMNS, tuple(_table_row(row) for row in rows))


def known_to_work(by_release: ByRelease, cells: Iterable[tuple[str, str]]) -> Iterator[Section]:
    """Yield a section of the cells, as subject and id, that no day of the history shows working, and a release does."""
    rows = tuple((subject, works) for subject, cell in cells if (works := by_release.works_in(cell)))
    if rows:
        note = "No day of the daily history shows them working; pinned versions do (`settle show MODEL`)."
        yield Section("Known to work by release", (note,), ("subject", "works in"), rows)


def _of_release_day(row: Mapping[str, Any]) -> bool:
    return bool(row["installed"] == InstalledAsOf.RELEASE_DAY)


def _observation(row: Mapping[str, Any]) -> Observation:
    return Observation(date.fromisoformat(row["day"]), CellVerdict(row["verdict"]), row["version"])


def _table_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = row["verdict"] + (f" ({row['rung']})" if row["rung"] else "")
    above = (row[name] or "" for name in ("matches", "serves", "trains", "torch", "transformers", "blame"))
    reason = "" if row["verdict"] == CellVerdict.WORKS else row["reason"]
    return row["version"], packages_as_of(row), verdict, *above, reason, row["run"]
