"""Groups the setbacks that came with one release by their failure, so that each cause is reported once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from monitor.judge.signature import Signature
from monitor.report.format import Section, length_text, listed, moved_text, since_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.judge.lock_diff import Moved
    from monitor.report.evidence import DayEvidence, Evidence
    from monitor.report.summary import Line
    from monitor.stability.values import Setback

MOST_NAMED = 6


@dataclass(frozen=True, slots=True)
class Hit:
    """One track that a cause set back, with the evidence of its first broken day."""

    line: Line
    setback: Setback
    broken: DayEvidence
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """One failure that came with one release; ``finding`` is a person's explanation of it."""

    runtime: str
    version: str
    signature: str
    hits: tuple[Hit, ...]
    finding: str

    @property
    def regressions(self) -> int:
        return sum(hit.setback.regression for hit in self.hits)


def causes(evidence: Evidence, lines: Iterable[Line]) -> list[Cause]:
    """Return the causes of all setbacks, in the order of their first day."""
    hits: dict[tuple[str, str, str], list[Hit]] = {}
    for line in lines:
        for setback in line.answer.setbacks:
            broken, moved = evidence.between(line.track.cell, setback.began)
            if broken is not None:
                key = (str(line.track.runtime), setback.first_bad, broken.signature)
                hits.setdefault(key, []).append(Hit(line, setback, broken, moved))
    findings = {(row["runtime"], row["release"], row["failure"]): row["finding"] for row in _looked_at()}
    grouped = [
        Cause(*key, tuple(alike), findings.get((*key[:2], Signature.parse(key[2]).digest), ""))
        for key, alike in hits.items()
    ]
    return sorted(grouped, key=lambda cause: (cause.hits[0].broken.day, cause.version, cause.signature))


def causes_section(grouped: Sequence[Cause]) -> Section:
    return Section(
        "Setbacks and regressions by cause",
        (
            "One row per release and failure. A regression is a failure after stable support, a setback one before it."
            if grouped
            else "None.",
        ),
        (
            "since",
            "release",
            "subjects",
            "regressions",
            "failure",
            "fixed by",
            "days",
            "also changed",
            "explanation",
            "show",
        ),
        tuple(_row(cause) for cause in grouped),
    )


def _row(cause: Cause) -> tuple[str, ...]:
    first = cause.hits[0]
    return (
        since_text(first.setback.began),
        f"{first.setback.last_good} → {cause.version}",
        listed([hit.line.track.subject.id for hit in cause.hits], most=MOST_NAMED),
        str(cause.regressions or ""),
        first.broken.reason,
        ", ".join(dict.fromkeys(hit.setback.restored_in or "open" for hit in cause.hits)),
        ", ".join(dict.fromkeys(length_text(hit.setback) for hit in cause.hits)),
        moved_text([change for change in first.moved if change.package != cause.runtime]),
        cause.finding or "none yet",
        f"settle demo show {first.broken.run}",
    )


def _looked_at() -> Sequence[Mapping[str, str]]:
    """Return the causes that a person looked at, by runtime, release and digest of the failure's signature."""
    rows: Sequence[Mapping[str, str]] = tomllib.loads(
        (files("monitor") / "data" / "looked_at.toml").read_text(encoding="utf-8")
    )["cause"]
    return rows
