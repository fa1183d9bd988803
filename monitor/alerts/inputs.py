"""Gathers from the database what news is found in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from monitor.alerts.items import TARGET
from monitor.alerts.values import Facts, FlipSeen, History, NewModel, TakenBack, Trouble
from monitor.domain import CellVerdict
from monitor.report.evidence import Evidence
from monitor.stability.values import Span
from monitor.store.recording import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from monitor.store import Reader, Track

SILENT_DAYS = 2  # without anything recorded; a daemon that rests writes at least what it carries

DAEMON = "daemon "  # slugs of the daemon's own troubles begin with it


def gather(store: Reader, cells: Sequence[str], now: datetime, own_troubles: Sequence[Trouble] | None) -> Facts:
    """Return what there is to look at. ``own_troubles`` is what the daemon suffers from, None where it did not say."""
    outbox = store.outbox
    began = outbox.began()
    troubles = [*_troubles(store, now), *(own_troubles or ())]
    fine = set(_fine(store, now))
    if own_troubles is not None:
        fine |= {slug for slug in outbox.open_troubles() if slug.startswith(DAEMON)}
    new_models = [
        NewModel(row["id"], row["organisation"], row["architecture"], row["released"] or "")
        for row in outbox.models_not_announced()
    ]
    return Facts(
        began=date.fromisoformat((began or stamp(now))[:10]),
        announced=outbox.announced_of(cells),
        histories=_histories(store, cells, {one.id for one in new_models}),
        new_models=new_models,
        taken_back=[
            TakenBack(
                cell=row["cell_id"],
                subject=row["subject_id"],
                model=row["model_id"],
                organisation=row["organisation"],
                runtime=row["runtime"],
                day=row["day"],
                after=row["after"],
            )
            for row in outbox.flips_taken_back()
        ],
        troubles=troubles,
        fine=frozenset(fine),
        open_troubles=outbox.open_troubles(),
        stamp=stamp(now),
    )


def _histories(store: Reader, cells: Sequence[str], new_models: set[str]) -> list[History]:
    if not cells:
        return []
    flips: dict[str, list[dict[str, Any]]] = {}
    for row in store.outbox.flips_of(cells):
        flips.setdefault(row["cell_id"], []).append(row)
    new = new_models | store.outbox.models_announced_as_new()
    evidence = Evidence(store)
    return [
        History(
            track,
            tuple(_flip_seen(evidence, track, row) for row in flips.get(track.cell, ())),
            new_model=track.subject.model_id in new,
        )
        for track in store.tracks_of(cells)
    ]


def _flip_seen(evidence: Evidence, track: Track, row: Mapping[str, Any]) -> FlipSeen:
    day, confirmed = date.fromisoformat(row["day"]), date.fromisoformat(row["confirmed"])
    announced = row["announced_at"] is not None
    flip = FlipSeen(row["id"], day, CellVerdict(row["before"]), CellVerdict(row["after"]), confirmed, announced)
    if announced:
        return flip  # a history may have hundreds, and only what is told needs its evidence
    known = [one.day for one in track.observations if one.day < day and one.verdict is not CellVerdict.UNKNOWN]
    before = known[-1] if known else None
    told, moved = evidence.between(track.cell, Span(before, confirmed))
    return replace(flip, told=told, last=evidence.on(track.cell, before), moved=moved)


def _troubles(store: Reader, now: datetime) -> Iterator[Trouble]:
    rows = store.outbox.latest_day()
    for row in rows:
        if row["ours"] == row["cells"]:
            sentence = (
                f"nothing could be measured in {row['runtime']} on {row['day']}: all {row['cells']} cells are unknown"
                f" by a fault of ours, such as: {row['reason']}"
            )
            yield Trouble(_measuring(row), sentence, row["runtime"])
    if rows and not _recent(rows[0]["day"], now):
        yield Trouble("silence", f"nothing has been recorded since {rows[0]['day']}")
    for target, problem in store.outbox.given_up().items():
        yield Trouble(f"{TARGET}{target}", f"messages to {target} are given up: {problem}")


def _fine(store: Reader, now: datetime) -> Iterator[str]:
    """Yield the slugs of which it is known that they are no trouble."""
    rows = store.outbox.latest_day()
    yield from (_measuring(row) for row in rows if row["ours"] < row["cells"])
    if rows and _recent(rows[0]["day"], now):
        yield "silence"
    given_up = store.outbox.given_up()
    named = (slug.removeprefix(TARGET) for slug in store.outbox.open_troubles() if slug.startswith(TARGET))
    yield from (f"{TARGET}{name}" for name in named if name not in given_up)


def _measuring(row: Mapping[str, Any]) -> str:
    return f"measuring {row['runtime']} {row['platform']}"


def _recent(day: str, now: datetime) -> bool:
    return (now.astimezone(UTC).date() - date.fromisoformat(day)).days < SILENT_DAYS
