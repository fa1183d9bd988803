"""Reads the whole history once, and puts what the pages show side by side into frozen values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, SubjectForm
from monitor.errors import UsageError
from monitor.report.summary import summaries
from monitor.site import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import Rung, Verdict
    from monitor.report.summary import Line, Summary
    from monitor.store import Reader, Track
    from monitor.store.failure_queries import Good, Latest, Sighting, Turn

MOST_TURNS = 500  # kept for the page of changes


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell with how it stands."""

    line: Line
    latest: Latest
    rungs: Mapping[Rung, tuple[Verdict, str]]
    good: Good | None  # the last day on which it worked
    page: str

    @property
    def subject(self) -> str:
        return self.line.track.subject.id

    @property
    def runtime(self) -> str:
        return str(self.line.track.runtime)

    @property
    def works(self) -> bool:
        return self.latest.verdict == CellVerdict.WORKS


@dataclass(frozen=True, slots=True)
class History:
    """All cells of one runtime, channel and platform: a column of the overview."""

    name: str
    title: str  # no longer than it must be to tell it from the others
    summary: Summary
    entries: tuple[Entry, ...]

    @property
    def version(self) -> str:
        """Return the newest release that anything was measured with."""
        return max(self.entries, key=lambda entry: entry.latest.day).latest.version

    @property
    def through(self) -> date:
        return max(entry.latest.day for entry in self.entries)

    @property
    def verdicts(self) -> Mapping[str, int]:
        return Counter(entry.latest.verdict for entry in self.entries)

    @property
    def standings(self) -> Mapping[str, int]:
        return Counter(str(entry.line.answer.standing) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the overview: a subject with its cells by history."""

    id: str
    track: Track  # any of its cells': what it says of the model is the same in all
    cells: Mapping[str, Entry]

    @property
    def model(self) -> str:
        return self.track.subject.model_id

    @property
    def broken(self) -> bool:
        return any(not entry.works for entry in self.cells.values())


@dataclass(frozen=True, slots=True)
class Atlas:
    through: date
    histories: tuple[History, ...]
    subjects: tuple[Subject, ...]  # the newest model first, those without a release day last
    failures: Mapping[str, tuple[Sighting, ...]]  # by signature, the newest first
    turns: tuple[Turn, ...]  # the newest first

    @property
    def entries(self) -> Mapping[str, Entry]:
        return {entry.latest.cell: entry for history in self.histories for entry in history.entries}


def survey(store: Reader) -> Atlas:
    """Return everything that is to be shown. Raises UsageError where nothing has been measured.

    A folder of a user's own has a path and not a name, and is nobody's business but the user's: it is left out.
    """
    tracks = [track for track in store.tracks() if track.subject.form is not SubjectForm.FOLDER]
    if not tracks:
        raise UsageError(
            "the history is empty, so there is nothing to show", hint="`settle run --once` or `settle replay` makes one"
        )
    asked = store.failure_queries
    latest = {one.cell: one for one in asked.latest()}
    rungs, good = asked.rungs(), asked.last_good()
    through = max(track.observations[-1].day for track in tracks)
    found = summaries(tracks, through)
    histories = tuple(
        _history(summary, _short_title(summary, found), latest=latest, rungs=rungs, good=good) for summary in found
    )
    cells = {entry.latest.cell for history in histories for entry in history.entries}
    failures: dict[str, tuple[Sighting, ...]] = {}
    for one in asked.failures():
        if one.cell in cells:
            failures[one.signature] = (*failures.get(one.signature, ()), one)
    turns = tuple(turn for turn in asked.turns(most=MOST_TURNS) if turn.cell in cells)
    return Atlas(through, histories, _subjects(histories), failures, turns)


def _history(
    summary: Summary,
    title: str,
    *,
    latest: Mapping[str, Latest],
    rungs: Mapping[str, Mapping[Rung, tuple[Verdict, str]]],
    good: Mapping[str, Good],
) -> History:
    track = summary.lines[0].track
    name = names.history_name(track.runtime, track.channel, str(track.platform))
    entries = tuple(
        Entry(
            line=line,
            latest=latest[line.track.cell],
            rungs=rungs.get(line.track.cell, {}),
            good=good.get(line.track.cell),
            page=names.cell_page(line.track.subject.id, name),
        )
        for line in summary.lines
    )
    return History(name, title, summary, entries)


def _short_title(summary: Summary, among: Iterable[Summary]) -> str:
    """Return the runtime's name, with channel and platform only where another history has the same runtime."""
    runtime = summary.lines[0].track.runtime
    alone = sum(other.lines[0].track.runtime is runtime for other in among) == 1
    return str(runtime) if alone else summary.title


def _subjects(histories: Sequence[History]) -> tuple[Subject, ...]:
    cells: dict[str, dict[str, Entry]] = {}
    for history in histories:
        for entry in history.entries:
            cells.setdefault(entry.subject, {})[history.name] = entry
    found = [Subject(name, next(iter(own.values())).line.track, own) for name, own in cells.items()]
    found.sort(key=lambda one: (one.track.family, one.id))
    found.sort(key=lambda one: one.track.released or date.min, reverse=True)
    return tuple(found)
