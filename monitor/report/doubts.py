"""A person's doubts about days of a history: which numbers each concerns, and what taking it at its word would give."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict, Runtime
from monitor.report.format import Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from monitor.stability.values import Observation
    from monitor.store.tracks import Track


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a verdict on some days of some subjects in a runtime may be wrong, or mean less than it seems."""

    runtime: Runtime
    subjects: tuple[str, ...]
    first: date
    last: date | None  # None: it concerns every later day
    doubted: CellVerdict
    instead: CellVerdict | None  # what the days would read if it is taken at its word; None: not known
    finding: str

    @property
    def days(self) -> str:
        return f"{self.first} to {self.last}" if self.last else f"from {self.first} on"

    def concerns(self, subject: str, runtime: str) -> bool:
        return subject in self.subjects and runtime == self.runtime

    def holds(self, day: date, verdict: str) -> bool:
        """Return whether it speaks of this verdict on this day."""
        return verdict == self.doubted and self.first <= day and (self.last is None or day <= self.last)

    def taken(self, observations: Sequence[Observation]) -> tuple[Observation, ...]:
        """Return the days as they would read if it is taken at its word."""
        if self.instead is None:
            return tuple(observations)
        return tuple(
            replace(seen, verdict=self.instead) if self.holds(seen.day, seen.verdict) else seen for seen in observations
        )


@cache
def load_doubts() -> tuple[Doubt, ...]:
    text = (files("monitor") / "data" / "doubts.toml").read_text(encoding="utf-8")
    return tuple(map(_doubt, tomllib.loads(text)["doubt"]))


def _doubt(row: dict[str, Any]) -> Doubt:
    return Doubt(
        runtime=Runtime(row["runtime"]),
        subjects=tuple(row["subjects"]),
        first=row["first"],
        last=row.get("last"),
        doubted=CellVerdict(row["doubted"]),
        instead=CellVerdict(row["instead"]) if "instead" in row else None,
        finding=row["finding"],
    )


def doubts_about(track: Track, doubts: Iterable[Doubt]) -> tuple[Doubt, ...]:
    """Return those of the doubts that speak of a day of the track."""
    return tuple(
        doubt
        for doubt in doubts
        if doubt.concerns(track.subject.id, track.runtime)
        and any(doubt.holds(seen.day, seen.verdict) for seen in track.observations)
    )


def doubts_about_day(subject: str, runtime: str, day: date, verdict: str) -> tuple[Doubt, ...]:
    """Return the doubts about the verdict of one day."""
    return tuple(doubt for doubt in load_doubts() if doubt.concerns(subject, runtime) and doubt.holds(day, verdict))


def taken_at_their_word(track: Track, doubts: Iterable[Doubt]) -> Track:
    """Return the track as it would be if the doubts about it are right."""
    observations = track.observations
    for doubt in doubts:
        observations = doubt.taken(observations)
    return replace(track, observations=observations)


def doubts_section(named: Iterable[tuple[str, Doubt]]) -> Section:
    """Return a row for each subject and doubt."""
    rows = tuple(
        (subject, doubt.days, str(doubt.doubted), str(doubt.instead or "not known"), doubt.finding)
        for subject, doubt in named
    )
    note = "'instead' is what these days would read if the doubt is right." if rows else "None."
    return Section("Doubts", (note,), ("subject", "days", "doubted", "instead", "doubt"), rows)
