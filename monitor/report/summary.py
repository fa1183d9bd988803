"""Sums up histories: a line a track, and distributions over models; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.domain import BAR, REFERENCE, CellVerdict, ReleaseKind
from monitor.report.doubts import doubts_about, load_doubts, taken_at_their_word
from monitor.stability.track import sensitivity, stabilization
from monitor.stability.values import ESTABLISHED_DAYS, STABLE_DAYS, Milestone, Span, TimeToSupport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from monitor.report.doubts import Doubt
    from monitor.stability.values import Distribution, Observation, Stabilization
    from monitor.store.reader import Reader
    from monitor.store.tracks import Track

FEWEST_ARCHITECTURES = 5  # in a group: with fewer there are no intervals
HORIZONS = (0, 7, 30, 90)  # days after the release
WINDOWS = (7, STABLE_DAYS, 21, ESTABLISHED_DAYS)


@dataclass(frozen=True, slots=True)
class Line:
    """One track with its answer."""

    track: Track
    answer: Stabilization
    doubts: tuple[Doubt, ...] = ()  # about its days

    @property
    def timed(self) -> bool:
        """Whether the track may enter a distribution: its clock has started, and a day was observed."""
        return _has_time(self.track, self.answer.through) and self.answer.works != Span(None, None)

    @property
    def is_model(self) -> bool:
        return _is_model(self.track)


@dataclass(frozen=True, slots=True)
class Group:
    """The distributions of one group of models, in days from their release."""

    name: str
    works: Distribution | None
    stable: Distribution | None
    doubts: int = 0  # models with days that are in doubt


@dataclass(frozen=True, slots=True)
class Summary:
    """All tracks of one runtime, channel and platform."""

    title: str
    first: date
    through: date
    lines: tuple[Line, ...]
    groups: tuple[Group, ...]
    undoubted: Group | None  # all models again, with the doubts taken at their word; None where there are none
    sensitivity: tuple[tuple[int, Distribution | None], ...]  # days of W -> days to stable

    @property
    def untimed(self) -> tuple[Line, ...]:
        """Return the lines whose release day has no source."""
        return tuple(line for line in self.lines if line.answer.released is None)

    @property
    def coming(self) -> tuple[Line, ...]:
        """Return the lines of models that are not released yet."""
        return tuple(
            line for line in self.lines if line.answer.released is not None and line.answer.released > self.through
        )


def summaries(
    tracks: Iterable[Track],
    through: date,
    *,
    first: date | None = None,
    rungs: Iterable[Track] = (),
    by_release: Mapping[str, Sequence[Observation]] | None = None,
) -> list[Summary]:
    """Return a summary for each runtime, channel and platform. ``first`` leaves out models released before that day.

    ``rungs`` are the tracks of single rungs, for the distributions of each; ``by_release`` has, by cell, what pinned
    versions did on their release days.
    """
    by_history: dict[str, list[Track]] = {}
    by_rung: dict[str, list[Track]] = {}
    for tracks_of_kind, by_title in ((tracks, by_history), (rungs, by_rung)):
        for track in tracks_of_kind:
            if first is None or (track.released is not None and track.released >= first):
                title = f"{track.runtime} ({track.channel}, {track.platform})"
                by_title.setdefault(title, []).append(track)
    known = by_release or {}
    return [_summary(title, members, through, by_rung.get(title, ()), known) for title, members in by_history.items()]


def rung_tracks(store: Reader, tracks: Iterable[Track], through: date) -> list[Track]:
    """Return the tracks of each rung of the bar that enter a distribution; the others cost time and show nowhere."""
    cells = {track.cell for track in tracks if _has_time(track, through) and _is_model(track)}
    return [track for rung in BAR for track in store.tracks_of(cells, rung=rung)]


def _has_time(track: Track, through: date) -> bool:
    """Return whether the model's clock has started, on a sourced day."""
    return track.released is not None and track.released <= through


def _is_model(track: Track) -> bool:
    """Return whether the track stands for its model; a language part probed alone is the same model a second time."""
    return track.subject.id == track.subject.model_id


def line_of(track: Track, through: date, by_release: Sequence[Observation] = ()) -> Line:
    """Return the track's answer; ``by_release`` says what pinned versions did on their release days.

    Those days show since when it works, and no more: nothing was observed between them, so they prove no streak and no
    setback.
    """
    answer = stabilization(track.observations, released=track.released, created=track.created, through=through)
    seen = {observation.day for observation in track.observations}
    added = {day.day: day for day in by_release if day.day not in seen}  # of two versions of a day the newer
    if track.rung is None and any(observation.verdict is CellVerdict.WORKS for observation in added.values()):
        days = [*track.observations, *added.values()]
        whole = stabilization(days, released=track.released, created=track.created, through=through)
        answer = replace(answer, works=whole.works, lead=whole.lead)
    return Line(track, answer, doubts_about(track, load_doubts()) if track.rung is None else ())


def _summary(
    title: str,
    tracks: Sequence[Track],
    through: date,
    rungs: Sequence[Track],
    by_release: Mapping[str, Sequence[Observation]],
) -> Summary:
    lines = [line_of(track, through, by_release.get(track.cell, ())) for track in tracks]
    timed = _standing_for_models(lines)
    single = _standing_for_models([line_of(track, through) for track in rungs if _has_time(track, through)])
    return Summary(
        title=title,
        first=min(track.observations[0].day for track in tracks),
        through=through,
        lines=tuple(lines),
        groups=(*_groups(timed), *_rungs(single)),
        undoubted=_undoubted(timed, through),
        sensitivity=tuple(_sensitivity(timed, through)),
    )


def _standing_for_models(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.timed and line.is_model]


def _sensitivity(lines: Sequence[Line], through: date) -> Iterator[tuple[int, Distribution | None]]:
    """Yield, for each length of the window, the days to stable."""
    milestones = [
        sensitivity(line.track.observations, released=line.track.released, through=through, windows=WINDOWS)
        for line in lines
    ]
    for window in WINDOWS:
        rewindowed = [
            Line(line.track, replace(line.answer, stable=milestone[window]))
            for line, milestone in zip(lines, milestones, strict=True)
        ]
        yield window, _distribution(rewindowed, lambda answer: answer.stable)


def _groups(lines: Sequence[Line]) -> Iterator[Group]:
    """Yield all models together, then by kind and by organisation, where a group has enough architectures to be one."""
    yield _group("all models", lines)
    names: tuple[tuple[str, Callable[[Line], str]], ...] = (
        ("kind", lambda line: str(line.track.kind)),
        ("organisation", lambda line: line.track.organisation),
    )
    for what, name_of in names:
        for name in sorted({name_of(line) for line in lines}):
            members = [line for line in lines if name_of(line) == name]
            if name and len({line.track.subject.architecture for line in members}) >= FEWEST_ARCHITECTURES:
                yield _group(f"{what} {name}", members)


def _undoubted(lines: Sequence[Line], through: date) -> Group | None:
    if not any(doubt.instead for line in lines for doubt in line.doubts):
        return None
    taken = [line_of(taken_at_their_word(line.track, line.doubts), through) for line in lines]
    return replace(_group("all models, doubts taken at their word", taken), doubts=0)


def _rungs(lines: Sequence[Line]) -> Iterator[Group]:
    for rung in sorted({line.track.rung for line in lines if line.track.rung is not None}):
        yield _group(f"rung {rung}", [line for line in lines if line.track.rung is rung])


def _group(name: str, lines: Sequence[Line]) -> Group:
    return Group(
        name,
        works=_distribution(lines, lambda answer: answer.works),
        stable=_distribution(lines, lambda answer: answer.stable),
        doubts=sum(bool(line.doubts) for line in lines),
    )


def _distribution(lines: Sequence[Line], of: Callable[[Stabilization], Span | Milestone]) -> Distribution | None:
    from monitor.stability.distribution import distribution  # heavy

    entries = list(_entries(lines, of))
    return distribution(entries, horizons=HORIZONS) if entries else None


def _entries(lines: Iterable[Line], of: Callable[[Stabilization], Span | Milestone]) -> Iterator[TimeToSupport]:
    for line in lines:
        zero = line.answer.released
        if zero is not None:
            event = of(line.answer)
            first, last = event.days(zero, line.answer.created)
            yield TimeToSupport(
                line.track.subject.architecture,
                first,
                last,
                undecided=isinstance(event, Milestone) and event.undecided,
                registry_derived=_is_registry_derived(line.track),
            )


def _is_registry_derived(track: Track) -> bool:
    """Return whether the model is here because the runtime knows it: of what it does not know no miniature is made.

    The catalogue's models were chosen otherwise, and those that no release knows are among them.
    """
    discovered = track.released_kind is ReleaseKind.LISTING
    return discovered and track.subject.shares_sessions and track.runtime is REFERENCE
