"""Tells what changed, day by day: releases, new models, verdicts that turned, and who became stable; pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from monitor.site.content import Atlas, Entry, History
    from monitor.store.failure_queries import Turn

MOST_DAYS = 60


@dataclass(frozen=True, slots=True)
class Turned:
    """Cells of one history that changed alike, for one reason and on one day; ``first`` is when it was first seen."""

    history: str
    version: str
    before: str
    after: str
    reason: str  # "" where they work
    first: date
    entries: tuple[Entry, ...]

    @property
    def title(self) -> str:
        who = self.entries[0].subject if len(self.entries) == 1 else f"{len(self.entries)} subjects"
        return f"{who}: {self.before} → {self.after} in {self.history} {self.version}"

    @property
    def key(self) -> str:
        """Return what names this change and no other, however often it is told."""
        text = "\n".join([self.history, self.version, self.before, self.after, str(self.first), self.entries[0].page])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Changed:
    day: date
    releases: tuple[tuple[str, str], ...]  # history and version
    arrived: tuple[Entry, ...]  # a cell of each model that was not there before
    turned: tuple[Turned, ...]
    stable: tuple[Entry, ...]  # proven on this day

    @property
    def quiet(self) -> bool:
        return not (self.releases or self.arrived or self.turned or self.stable)


def changed_days(atlas: Atlas) -> list[Changed]:
    """Return the newest days on which something changed, and the last day of the history in any case."""
    releases, arrived, stable = _releases(atlas), _arrivals(atlas), _stable(atlas)
    turns: dict[date, list[Turn]] = {}
    for turn in atlas.turns:
        turns.setdefault(turn.confirmed, []).append(turn)
    days = sorted({*releases, *arrived, *stable, *turns, atlas.through}, reverse=True)[:MOST_DAYS]
    return [
        Changed(
            day,
            tuple(releases.get(day, ())),
            tuple(arrived.get(day, ())),
            tuple(_turned(atlas, turns.get(day, []))),
            tuple(stable.get(day, ())),
        )
        for day in days
    ]


def _turned(atlas: Atlas, turns: list[Turn]) -> Iterator[Turned]:
    entries = atlas.entries
    titles = {entry.latest.cell: history.title for history in atlas.histories for entry in history.entries}
    groups: dict[tuple[str, str, str, str, str], list[Turn]] = {}
    for turn in turns:
        why = "" if turn.after == CellVerdict.WORKS else turn.signature
        groups.setdefault((titles[turn.cell], turn.version, turn.before, turn.after, why), []).append(turn)
    for (history, version, before, after, _), own in sorted(groups.items()):
        reason = "" if after == CellVerdict.WORKS else own[0].reason
        first = min(turn.day for turn in own)
        yield Turned(history, version, before, after, reason, first, tuple(entries[turn.cell] for turn in own))


def _releases(atlas: Atlas) -> Mapping[date, list[tuple[str, str]]]:
    found: dict[date, list[tuple[str, str]]] = {}
    for history in atlas.histories:
        for version, day in _first_seen(history).items():
            found.setdefault(day, []).append((history.title, version))
    return found


def _first_seen(history: History) -> Mapping[str, date]:
    """Return the day on which each release was first measured, the history's own first day left out."""
    first: dict[str, date] = {}
    for entry in history.entries:
        for one in entry.line.track.observations:
            if one.version and one.day < first.get(one.version, one.day.max):
                first[one.version] = one.day
    return {version: day for version, day in first.items() if day > history.summary.first}


def _arrivals(atlas: Atlas) -> Mapping[date, list[Entry]]:
    found: dict[date, list[Entry]] = {}
    begun = min(history.summary.first for history in atlas.histories)
    for subject in atlas.subjects:
        entry = min(subject.cells.values(), key=lambda one: one.line.track.observations[0].day)
        if (day := entry.line.track.observations[0].day) > begun:
            found.setdefault(day, []).append(entry)
    return found


def _stable(atlas: Atlas) -> Mapping[date, list[Entry]]:
    found: dict[date, list[Entry]] = {}
    for entry in atlas.entries.values():
        if (proven := entry.line.answer.stable.proven) is not None:
            found.setdefault(proven, []).append(entry)
    return found
