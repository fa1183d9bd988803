"""Reads the whole history once, as the frozen values that the pages show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, folder_named
from monitor.errors import UsageError
from monitor.report.summary import summaries
from monitor.site import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import Rung, Verdict
    from monitor.report.summary import Line, Summary
    from monitor.store import Reader, Track
    from monitor.store.site import CellNow, ConfirmedFlip, FailureSpan, LastGood

MOST_TURNS = 500  # for the page of changes


@dataclass(frozen=True, slots=True)
class SiteCell:
    """One cell with its latest day."""

    line: Line
    latest: CellNow
    rungs: Mapping[Rung, tuple[Verdict, str]]
    good: LastGood | None  # the last day on which it worked
    page: str

    @property
    def subject(self) -> str:
        return self.line.track.subject.id

    @property
    def runtime(self) -> str:
        return str(self.line.track.runtime)

    @property
    def in_doubt(self) -> bool:
        """Return whether the verdict of its latest day is in doubt."""
        return any(doubt.holds(self.latest.day, self.latest.verdict) for doubt in self.line.doubts)

    @property
    def works(self) -> bool:
        return self.latest.verdict == CellVerdict.WORKS


@dataclass(frozen=True, slots=True)
class RuntimeColumn:
    """All cells of one runtime, channel and platform: a column of the overview."""

    name: str
    title: str  # the runtime, with channel and platform only where several columns have it
    summary: Summary
    cells: tuple[SiteCell, ...]

    @property
    def version(self) -> str:
        """Return the newest measured release."""
        return max(self.cells, key=lambda cell: cell.latest.day).latest.version

    @property
    def through(self) -> date:
        return max(cell.latest.day for cell in self.cells)

    @property
    def verdicts(self) -> Mapping[str, int]:
        return Counter(cell.latest.verdict for cell in self.cells)

    @property
    def by_standing(self) -> Mapping[str, int]:
        return Counter(str(cell.line.answer.standing) for cell in self.cells)


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """One row of the overview: a subject with its cells by column."""

    id: str
    track: Track  # of any of its cells: all have the same model
    cells: Mapping[str, SiteCell]

    @property
    def model(self) -> str:
        return self.track.subject.model_id

    @property
    def broken(self) -> bool:
        return any(not cell.works for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class Content:
    through: date
    columns: tuple[RuntimeColumn, ...]
    rows: tuple[SubjectRow, ...]  # the newest model first, models without a release day last
    failures: Mapping[str, tuple[FailureSpan, ...]]  # by signature, the newest first
    turns: tuple[ConfirmedFlip, ...]  # the newest first

    @property
    def cells(self) -> Mapping[str, SiteCell]:
        return {cell.latest.cell: cell for column in self.columns for cell in column.cells}


def read_content(store: Reader) -> Content:
    """Return everything that the site shows. Raises UsageError where nothing has been measured.

    A user's local folder is private, and its id is a path: the site leaves it out.
    """
    tracks = [track for track in store.tracks() if not folder_named(track.subject.id)]
    if not tracks:
        raise UsageError(
            "the history is empty, so the site would be empty", hint="`settle run --once` or `settle replay` fills it"
        )
    queries = store.site
    latest = {day.cell: day for day in queries.latest()}
    rungs, good = queries.rungs(), queries.last_good()
    through = max(track.observations[-1].day for track in tracks)
    by_column = summaries(tracks, through)
    columns = tuple(
        _column(summary, _short_title(summary, by_column), latest=latest, rungs=rungs, good=good)
        for summary in by_column
    )
    shown = {cell.latest.cell for column in columns for cell in column.cells}
    failures: dict[str, list[FailureSpan]] = {}
    for failure in queries.failures():
        if failure.cell in shown:
            failures.setdefault(failure.signature, []).append(failure)
    return Content(
        through=through,
        columns=columns,
        rows=_rows(columns),
        failures={signature: tuple(alike) for signature, alike in failures.items()},
        turns=tuple(turn for turn in queries.flips(most=MOST_TURNS) if turn.cell in shown),
    )


def _column(
    summary: Summary,
    title: str,
    *,
    latest: Mapping[str, CellNow],
    rungs: Mapping[str, Mapping[Rung, tuple[Verdict, str]]],
    good: Mapping[str, LastGood],
) -> RuntimeColumn:
    track = summary.lines[0].track
    name = names.column_name(track.runtime, track.channel, str(track.platform))
    cells = tuple(
        SiteCell(
            line=line,
            latest=latest[line.track.cell],
            rungs=rungs.get(line.track.cell, {}),
            good=good.get(line.track.cell),
            page=names.cell_page(line.track.subject.id, name),
        )
        for line in summary.lines
    )
    return RuntimeColumn(name, title, summary, cells)


def _short_title(summary: Summary, every: Iterable[Summary]) -> str:
    runtime = summary.lines[0].track.runtime
    alone = sum(other.lines[0].track.runtime is runtime for other in every) == 1
    return str(runtime) if alone else summary.title


def _rows(columns: Sequence[RuntimeColumn]) -> tuple[SubjectRow, ...]:
    by_subject: dict[str, dict[str, SiteCell]] = {}
    for column in columns:
        for cell in column.cells:
            by_subject.setdefault(cell.subject, {})[column.name] = cell
    rows = [SubjectRow(name, next(iter(cells.values())).line.track, cells) for name, cells in by_subject.items()]
    rows.sort(key=lambda row: (row.track.family, row.id))
    rows.sort(key=lambda row: row.track.released or date.min, reverse=True)
    return tuple(rows)
