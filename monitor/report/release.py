"""What one release changed for whom: the last day before it beside the first day with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict
from monitor.report.evidence import Evidence, moved_text
from monitor.report.format import Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.stability.values import Observation
    from monitor.store import Reader, Track

_KINDS = (
    ("Broke", CellVerdict.WORKS, CellVerdict.BROKEN),
    ("Newly works", CellVerdict.BROKEN, CellVerdict.WORKS),
)


@dataclass(frozen=True, slots=True)
class Effect:
    """One track across a release; ``before`` is None where the history begins with it. Unknown days are skipped."""

    track: Track
    before: Observation | None
    after: Observation

    @property
    def changed(self) -> bool:
        return self.before is not None and self.before.verdict is not self.after.verdict


def effects(tracks: Iterable[Track], version: str) -> list[Effect]:
    """Return how each track that saw the release stood before it and with it."""
    found: list[Effect] = []
    for track in tracks:
        valid = [one for one in track.observations if one.verdict is not CellVerdict.UNKNOWN]
        place = next((number for number, one in enumerate(valid) if one.version == version), None)
        if place is not None:
            found.append(Effect(track, valid[place - 1] if place else None, valid[place]))
    return found


def release_sections(store: Reader, runtime: str, version: str, found: Sequence[Effect]) -> Iterator[Section]:
    evidence = Evidence(store)
    first = min(one.after.day for one in found)
    counts = {verdict: sum(one.after.verdict is verdict for one in found) for verdict in CellVerdict}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    example = next((one for one in found if one.before), None)
    moved = evidence.moved_over(example.track, example.before, example.after) if example and example.before else ()
    yield Section(
        f"{runtime} {version}, first seen on {first}",
        (
            f"{len(found)} subjects: {told}; {sum(one.changed for one in found)} changed.",
            *([f"Moved with it: {moved_text(moved, first=runtime)}."] if moved else []),
        ),
        level=1,
    )
    seen: set[int] = set()
    for title, before, after in _KINDS:
        own = [one for one in found if one.before and one.before.verdict is before and one.after.verdict is after]
        seen |= {id(one) for one in own}
        yield _changes(evidence, title, own)
    yield _changes(evidence, "Changed otherwise", [one for one in found if one.changed and id(one) not in seen])


def _changes(evidence: Evidence, title: str, effects: Sequence[Effect]) -> Section:
    return Section(
        title,
        () if effects else ("Nobody.",),
        ("subject", "before", "with it", "reason", "show"),
        tuple(_row(evidence, one) for one in effects),
    )


def _row(evidence: Evidence, one: Effect) -> tuple[str, ...]:
    told = evidence.on(one.track.cell, one.after.day)
    before = f"{one.before.version}: {one.before.verdict}" if one.before else ""
    reason = told.reason if told else ""
    return one.track.subject.id, before, str(one.after.verdict), reason, f"settle show {told.run}" if told else ""


def effects_as_json(store: Reader, found: Sequence[Effect]) -> list[dict[str, Any]]:
    evidence = Evidence(store)
    rows = []
    for one in found:
        told = evidence.on(one.track.cell, one.after.day)
        rows.append(
            {
                "subject": one.track.subject.id,
                "cell": one.track.cell,
                "changed": one.changed,
                "before": one.before,
                "after": one.after,
                "reason": told.reason if told else "",
                "run": told.run if told else "",
            }
        )
    return rows
