"""Groups setbacks that came with one release by one failure: what broke once is told once, with everybody it hit."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from monitor.report.evidence import moved_text
from monitor.report.format import Section, length_text, since_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from monitor.judge.lock_diff import Moved
    from monitor.report.evidence import Evidence, Told
    from monitor.report.summary import Line
    from monitor.stability.values import Setback

MOST_NAMED = 6


@dataclass(frozen=True, slots=True)
class Hit:
    """One track that a cause set back."""

    line: Line
    setback: Setback
    told: Told
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """One failure that came with one release; ``looked_at`` is what a person found when looking into it."""

    runtime: str
    version: str
    signature: str
    hits: tuple[Hit, ...]
    looked_at: str

    @property
    def regressions(self) -> int:
        return sum(hit.setback.regression for hit in self.hits)


def causes(evidence: Evidence, lines: Iterable[Line]) -> list[Cause]:
    """Return the causes of all setbacks, in the order of their first day."""
    hits: dict[tuple[str, str, str], list[Hit]] = {}
    for line in lines:
        for one in line.answer.setbacks:
            told, moved = evidence.of_setback(line.track, one)
            if told is not None:
                key = (str(line.track.runtime), one.first_bad, told.signature)
                hits.setdefault(key, []).append(Hit(line, one, told, moved))
    notes = _looked_at()
    found = [
        Cause(*key, tuple(own), notes.get((key[0], key[1], key[2].partition(" ")[0]), "")) for key, own in hits.items()
    ]
    return sorted(found, key=lambda cause: (cause.hits[0].told.day, cause.version, cause.signature))


def causes_section(found: Sequence[Cause]) -> Section:
    return Section(
        "Setbacks and regressions by cause",
        (
            "One row a release and failure. A regression is a failure after stable support, a setback one before it."
            if found
            else "None.",
        ),
        ("since", "release", "hit", "regressions", "failure", "ended by", "days", "moved with it", "looked at", "show"),
        tuple(_row(cause) for cause in found),
    )


def _row(cause: Cause) -> tuple[str, ...]:
    first = cause.hits[0]
    return (
        since_text(first.setback.began),
        f"{first.setback.last_good} → {cause.version}",
        _named([hit.line.track.subject.id for hit in cause.hits]),
        str(cause.regressions or ""),
        first.told.reason,
        ", ".join(dict.fromkeys(hit.setback.restored_in or "open" for hit in cause.hits)),
        ", ".join(dict.fromkeys(length_text(hit.setback) for hit in cause.hits)),
        moved_text([one for one in first.moved if one.package != cause.runtime]),
        cause.looked_at or "not yet",
        f"settle demo show {first.told.run}",
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def doubts_section(subjects: Collection[str]) -> Section:
    """Return what people found that speaks against the history itself, for the subjects that are in it."""
    rows = [(row["subject"], row["found"]) for row in _notes().get("doubt", []) if row["subject"] in subjects]
    return Section("Doubts", () if rows else ("None.",), ("subject", "doubt"), tuple(rows))


def _looked_at() -> Mapping[tuple[str, str, str], str]:
    """Return what people found out about causes, by runtime, release and the digest of the failure's signature."""
    return {(row["runtime"], row["release"], row["failure"]): row["found"] for row in _notes().get("cause", [])}


def _notes() -> Mapping[str, list[dict[str, str]]]:
    return tomllib.loads((files("monitor") / "data" / "looked_at.toml").read_text(encoding="utf-8"))
