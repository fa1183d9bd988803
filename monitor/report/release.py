"""What one release changed: each track's last day before it beside its first day with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict
from monitor.report.evidence import Evidence
from monitor.report.format import Section, moved_text
from monitor.stability.values import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.stability.values import Observation
    from monitor.store import Reader, Track

_KINDS = {
    (CellVerdict.WORKS, CellVerdict.BROKEN): "Broke",
    (CellVerdict.BROKEN, CellVerdict.WORKS): "Newly works",
}
_OTHER = "Changed otherwise"


@dataclass(frozen=True, slots=True)
class Effect:
    """One track across a release; ``before`` is None where the history begins with it. Unknown days are skipped."""

    track: Track
    before: Observation | None
    after: Observation

    @property
    def changed(self) -> bool:
        return self.before is not None and self.before.verdict is not self.after.verdict

    @property
    def kind(self) -> str:
        if self.before is None or not self.changed:
            return ""
        return _KINDS.get((self.before.verdict, self.after.verdict), _OTHER)


def effects(tracks: Iterable[Track], version: str) -> list[Effect]:
    """Return the effect of the release on each track that has it."""
    seen: list[Effect] = []
    for track in tracks:
        valid = [day for day in track.observations if day.verdict is not CellVerdict.UNKNOWN]
        place = next((number for number, day in enumerate(valid) if day.version == version), None)
        if place is not None:
            seen.append(Effect(track, valid[place - 1] if place else None, valid[place]))
    return seen


def release_sections(store: Reader, runtime: str, version: str, seen: Sequence[Effect]) -> Iterator[Section]:
    evidence = Evidence(store)
    first = min(effect.after.day for effect in seen)
    counts = {verdict: sum(effect.after.verdict is verdict for effect in seen) for verdict in CellVerdict}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    days = next(
        ((effect.track.cell, Span(effect.before.day, effect.after.day)) for effect in seen if effect.before), None
    )
    moved = evidence.between(*days)[1] if days else ()
    yield Section(
        f"{runtime} {version}, first seen on {first}",
        (
            f"{len(seen)} subjects: {verdicts}; {sum(effect.changed for effect in seen)} changed their verdict.",
            *([f"Changed packages: {moved_text(moved, first=runtime)}."] if moved else []),
        ),
        level=1,
    )
    for title in (*_KINDS.values(), _OTHER):
        rows = tuple(_row(evidence, effect) for effect in seen if effect.kind == title)
        columns = ("subject", "before", "after", "reason", "show")
        yield Section(title, () if rows else ("None.",), columns, rows)


def _row(evidence: Evidence, effect: Effect) -> tuple[str, ...]:
    day = evidence.on(effect.track.cell, effect.after.day)
    before = f"{effect.before.version}: {effect.before.verdict}" if effect.before else ""
    show = f"settle show {day.run}" if day else ""
    return effect.track.subject.id, before, str(effect.after.verdict), day.reason if day else "", show


def effects_as_json(store: Reader, seen: Sequence[Effect]) -> list[dict[str, Any]]:
    evidence = Evidence(store)
    rows = []
    for effect in seen:
        day = evidence.on(effect.track.cell, effect.after.day)
        rows.append(
            {
                "subject": effect.track.subject.id,
                "cell": effect.track.cell,
                "changed": effect.changed,
                "before": effect.before,
                "after": effect.after,
                "reason": day.reason if day else "",
                "run": day.run if day else "",
            }
        )
    return rows
