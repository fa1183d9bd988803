"""Reads the whole history once, as the frozen values that the pages show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import ABOVE_THE_BAR, CellVerdict, Verdict, folder_named, shown_verdict, was_not_asked
from monitor.errors import UsageError
from monitor.report.by_release import read_by_release
from monitor.report.summary import summaries
from monitor.site import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import Rung
    from monitor.report.by_release import ByRelease
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
    by_release: Sequence[Mapping[str, Any]] = ()  # results of pinned versions

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

    @property
    def wrong_numbers(self) -> bool:
        """Whether it works, and its numbers differ from the reference: no plain *works*."""
        return self.shown != self.latest.verdict

    @property
    def shown(self) -> str:
        """Return the verdict in the words of a page."""
        return shown_verdict(self.latest.verdict, {rung: verdict for rung, (verdict, _) in self.rungs.items()})

    @property
    def style(self) -> str:
        return "wrong" if self.wrong_numbers else self.latest.verdict

    @property
    def above_the_bar(self) -> Mapping[str, str]:
        """Return the verdicts of the tracks above the bar, which decide nothing and stand beside every *works*."""
        silent = (Verdict.NOT_MEASURED, "")
        return {str(rung): str(self.rungs.get(rung, silent)[0]) for rung in ABOVE_THE_BAR}

    @property
    def asked(self) -> bool:
        """Whether its runtime could be installed, so that it could be asked at all."""
        latest = self.latest
        return not was_not_asked({"verdict": latest.verdict, "rung": latest.rung, "blame": latest.blame})

    @property
    def known_good(self) -> Mapping[str, Any] | None:
        """Return the newest release that works by hand, where no day of the history does."""
        working = [row for row in self.by_release if row["verdict"] == CellVerdict.WORKS and row["environment"]]
        return working[-1] if working and self.good is None else None


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
    def wrong_numbers(self) -> int:
        """Return how many of those that work do so with wrong numbers."""
        return sum(cell.wrong_numbers for cell in self.cells)

    @property
    def asked(self) -> bool:
        """Whether the runtime could be asked about any model; else it is one line and no column."""
        return any(cell.asked for cell in self.cells)

    @property
    def silence(self) -> str:
        """Return why it could not be asked."""
        return self.cells[0].latest.reason

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
    def failing(self) -> bool:
        return any(cell.latest.verdict in (CellVerdict.BROKEN, CellVerdict.FLAKY) for cell in self.cells.values())

    @property
    def unknown(self) -> bool:
        return any(cell.asked and cell.latest.verdict == CellVerdict.UNKNOWN for cell in self.cells.values())

    def not_asked(self, columns: Sequence[RuntimeColumn]) -> bool:
        """Return whether one of the columns has no answer about it, because it was not asked."""
        cells = (self.cells.get(column.name) for column in columns)
        return any(cell is None or not cell.asked for cell in cells)


@dataclass(frozen=True, slots=True)
class Content:
    through: date
    columns: tuple[RuntimeColumn, ...]  # of runtimes that could be asked
    silent: tuple[RuntimeColumn, ...]  # of runtimes that could not: a line each
    rows: tuple[SubjectRow, ...]  # the newest model first, models without a release day last
    failures: Mapping[str, tuple[FailureSpan, ...]]  # by signature, the newest first
    turns: tuple[ConfirmedFlip, ...]  # the newest first

    @property
    def cells(self) -> Mapping[str, SiteCell]:
        return {cell.latest.cell: cell for column in self.every_column for cell in column.cells}

    @property
    def every_column(self) -> tuple[RuntimeColumn, ...]:
        return (*self.columns, *self.silent)


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
    by_release = read_by_release(store)
    by_column = summaries(tracks, through, by_release=by_release.observations)
    columns = tuple(
        _column(summary, _short_title(summary, by_column), latest=latest, rungs=rungs, good=good, by_release=by_release)
        for summary in by_column
    )
    shown = {cell.latest.cell for column in columns for cell in column.cells}
    failures: dict[str, list[FailureSpan]] = {}
    for failure in queries.failures():
        if failure.cell in shown:
            failures.setdefault(failure.signature, []).append(failure)
    return Content(
        through=through,
        columns=tuple(column for column in columns if column.asked),
        silent=tuple(column for column in columns if not column.asked),
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
    by_release: ByRelease,
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
            by_release=by_release.of(line.track.cell),
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
