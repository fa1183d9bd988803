"""Lists what changed day by day: releases, new models, verdicts, and cells that became stable; pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from monitor.site.content import Content, RuntimeColumn, SiteCell
    from monitor.store.site import ConfirmedFlip

MOST_DAYS = 60


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """Cells of one column whose verdict changed alike, for one reason and on one day; ``first`` is the first sight."""

    column: str
    version: str
    before: str
    after: str
    reason: str  # "" where they work
    first: date
    cells: tuple[SiteCell, ...]

    @property
    def title(self) -> str:
        subjects = self.cells[0].subject if len(self.cells) == 1 else f"{len(self.cells)} subjects"
        return f"{subjects}: {self.before} → {self.after} in {self.column} {self.version}"

    @property
    def key(self) -> str:
        """Return the id of this change, the same in every feed that has it."""
        text = "\n".join([self.column, self.version, self.before, self.after, str(self.first), self.cells[0].page])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ChangedDay:
    day: date
    releases: Sequence[tuple[str, str]]  # column and version
    new: Sequence[SiteCell]  # one cell of each new model
    verdicts: Sequence[VerdictChange]
    stable: Sequence[SiteCell]  # proven on this day

    @property
    def quiet(self) -> bool:
        return not (self.releases or self.new or self.verdicts or self.stable)


def changed_days(content: Content) -> list[ChangedDay]:
    """Return the newest days on which something changed, and the last day of the history in any case."""
    releases, new, stable = _releases(content), _new_models(content), _stable(content)
    turns: dict[date, list[ConfirmedFlip]] = defaultdict(list)
    for turn in content.turns:
        turns[turn.confirmed].append(turn)
    days = sorted({*releases, *new, *stable, *turns, content.through}, reverse=True)[:MOST_DAYS]
    return [
        ChangedDay(
            day,
            releases.get(day, ()),
            new.get(day, ()),
            tuple(_verdict_changes(content, turns.get(day, ()))),
            stable.get(day, ()),
        )
        for day in days
    ]


def _verdict_changes(content: Content, turns: Sequence[ConfirmedFlip]) -> Iterator[VerdictChange]:
    cells = content.cells
    titles = {cell.latest.cell: column.title for column in content.every_column for cell in column.cells}
    groups: dict[tuple[str, str, str, str, str], list[ConfirmedFlip]] = defaultdict(list)
    for turn in turns:
        signature = "" if turn.after == CellVerdict.WORKS else turn.signature
        groups[titles[turn.cell], turn.version, turn.before, turn.after, signature].append(turn)
    for (column, version, before, after, _), alike in sorted(groups.items()):
        reason = "" if after == CellVerdict.WORKS else alike[0].reason
        first = min(turn.day for turn in alike)
        yield VerdictChange(column, version, before, after, reason, first, tuple(cells[turn.cell] for turn in alike))


def _releases(content: Content) -> Mapping[date, list[tuple[str, str]]]:
    releases: dict[date, list[tuple[str, str]]] = defaultdict(list)
    for column in content.columns:
        for version, day in _first_measured(column).items():
            releases[day].append((column.title, version))
    return releases


def _first_measured(column: RuntimeColumn) -> Mapping[str, date]:
    """Return the day on which each release was first measured, without releases of the column's first day."""
    first: dict[str, date] = {}
    for cell in column.cells:
        for observation in cell.line.track.observations:
            version, day = observation.version, observation.day
            if version and day < first.get(version, day.max):
                first[version] = day
    return {version: day for version, day in first.items() if day > column.summary.first}


def _new_models(content: Content) -> Mapping[date, list[SiteCell]]:
    new: dict[date, list[SiteCell]] = defaultdict(list)
    begun = min(column.summary.first for column in content.every_column)
    for row in content.rows:
        cell = min(row.cells.values(), key=lambda cell: cell.line.track.observations[0].day)
        if (day := cell.line.track.observations[0].day) > begun:
            new[day].append(cell)
    return new


def _stable(content: Content) -> Mapping[date, list[SiteCell]]:
    stable: dict[date, list[SiteCell]] = defaultdict(list)
    for cell in content.cells.values():
        if (proven := cell.line.answer.stable.proven) is not None:
            stable[proven].append(cell)
    return stable
