"""What one release changed: each cell before it beside the cell with it, by all that is known, by hand included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict, version_order
from monitor.report.evidence import DayEvidence, Evidence
from monitor.report.format import Section, moved_text
from monitor.store.reader import DAILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.version import Version

    from monitor.store import Reader

    Row = Mapping[str, Any]

_KINDS = {
    (CellVerdict.WORKS, CellVerdict.BROKEN): "Broke",
    (CellVerdict.BROKEN, CellVerdict.WORKS): "Newly works",
}
_OTHER = "Changed otherwise"
_UNKNOWN = "Worked before, and could not be measured"
_PREFERRED = (DAILY, "release-day", "run-day")  # which of several results of one version speaks for it


@dataclass(frozen=True, slots=True)
class Effect:
    """One cell across a release; ``before`` is None where nothing older is known.

    Unknown results are skipped, except where the release has no other.
    """

    subject: str
    cell: str
    before: DayEvidence | None
    after: DayEvidence

    @property
    def changed(self) -> bool:
        known = self.after.verdict != CellVerdict.UNKNOWN
        return known and self.before is not None and self.before.verdict != self.after.verdict

    @property
    def kind(self) -> str:
        if self.before is None:
            return ""
        if (self.before.verdict, self.after.verdict) == (CellVerdict.WORKS, CellVerdict.UNKNOWN):
            return _UNKNOWN
        if not self.changed:
            return ""
        return _KINDS.get((CellVerdict(self.before.verdict), CellVerdict(self.after.verdict)), _OTHER)


def effects(store: Reader, runtime: str, version: str) -> list[Effect]:
    """Return the effect of the release on each cell that has a result with it."""
    evidence, cells = Evidence(store), dict[str, list["Row"]]()
    for row in store.by_release(runtime=runtime):
        cells.setdefault(row["cell"], []).append(row)
    pairs = ((rows[0]["subject"], cell, _pair(evidence, cell, rows, version)) for cell, rows in cells.items())
    return [Effect(subject, cell, *pair) for subject, cell, pair in pairs if pair is not None]


def _pair(
    evidence: Evidence, cell: str, rows: Sequence[Row], version: str
) -> tuple[DayEvidence | None, DayEvidence] | None:
    """Return the last day before the release and the first with it; outside a history, the release before and it."""
    wanted, _ = version_order(version)
    days = [day for day in evidence.days(cell) if day.verdict != CellVerdict.UNKNOWN]
    place = next((at for at, day in enumerate(days) if day.version and version_order(day.version)[0] == wanted), None)
    if place:
        return days[place - 1], days[place]
    known = _by_version(rows)
    after = days[place] if place is not None else known.get(wanted) or _unknown(rows, wanted)
    if after is None:
        return None
    older = [number for number in known if number < wanted]
    return (known[max(older)] if older else None), after


def _by_version(rows: Iterable[Row]) -> dict[Any, DayEvidence]:
    """Return the valid result of each release without other pins."""
    valid = [
        row for row in rows if row["verdict"] != CellVerdict.UNKNOWN and row["version"] and " " not in row["version"]
    ]
    valid.sort(key=lambda row: _PREFERRED.index(row["installed"]), reverse=True)
    return {version_order(row["version"])[0]: _evidence(row) for row in valid}


def _unknown(rows: Iterable[Row], wanted: Version) -> DayEvidence | None:
    """Return the result of a release that could not be measured."""
    of_release = (row for row in rows if row["version"] and " " not in row["version"])
    return next((_evidence(row) for row in of_release if version_order(row["version"])[0] == wanted), None)


def _evidence(row: Row) -> DayEvidence:
    return DayEvidence(
        day=date.fromisoformat(row["day"]),
        version=row["version"],
        verdict=row["verdict"],
        reason="" if row["verdict"] == CellVerdict.WORKS else row["reason"],
        run=row["run"],
        environment=row["environment"] or "",
        blame=row["blame"] or "",
        signature="",
    )


def release_sections(store: Reader, runtime: str, version: str, seen: Sequence[Effect]) -> Iterator[Section]:
    evidence = Evidence(store)
    first = min(effect.after.day for effect in seen)
    counts = {verdict: sum(effect.after.verdict == verdict for effect in seen) for verdict in CellVerdict}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    pair = next(((effect.before, effect.after) for effect in seen if effect.before), None)
    moved = evidence.moved(*pair) if pair else ()
    yield Section(
        f"{runtime} {version}, first seen on {first}",
        (
            f"{len(seen)} subjects: {verdicts}; {sum(effect.changed for effect in seen)} changed their verdict.",
            *_compared(seen),
            *([f"Changed packages: {moved_text(moved, first=runtime)}."] if moved else []),
        ),
        level=1,
    )
    for title in (*_KINDS.values(), _OTHER):
        rows = tuple(_row(effect) for effect in seen if effect.kind == title)
        columns = ("subject", "before", "after", "reason", "show")
        yield Section(title, () if rows else ("None.",), columns, rows)
    if rows := tuple(_row(effect) for effect in seen if effect.kind == _UNKNOWN):
        yield Section(_UNKNOWN, (), columns, rows)


def _compared(seen: Sequence[Effect]) -> Iterator[str]:
    """Yield what the release is compared with: without a result before it nothing can have changed."""
    alone = sum(effect.before is None for effect in seen)
    if alone:
        yield f"{alone} of them have no result in an earlier release, so a change would not show."


def _row(effect: Effect) -> tuple[str, ...]:
    before = f"{effect.before.version}: {effect.before.verdict}" if effect.before else ""
    return effect.subject, before, effect.after.verdict, effect.after.reason, f"settle show {effect.after.run}"


def effects_as_json(seen: Sequence[Effect]) -> list[dict[str, Any]]:
    return [
        {
            "subject": effect.subject,
            "cell": effect.cell,
            "changed": effect.changed,
            "before": effect.before,
            "after": effect.after,
            "reason": effect.after.reason,
            "run": effect.after.run,
        }
        for effect in seen
    ]
