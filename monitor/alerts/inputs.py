"""Reads from the database what alerts are detected in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from monitor.alerts.values import (
    AlertInputs,
    CellHistory,
    FlipEvidence,
    NewLayout,
    NewModel,
    Trouble,
    TroubleArea,
    TroubleId,
    WithdrawnFlip,
)
from monitor.domain import CellVerdict
from monitor.report.evidence import Evidence
from monitor.stability.values import Span
from monitor.store.recording import stamp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from monitor.store import Reader, Track

SILENT_DAYS = 2  # without a record; a daemon without work still records the days that it carries over
_LAYOUT_LINES = {
    "layout": "the layout of the published weights has changed",
    "unlike": "the published weights are laid out otherwise than in the miniature that is probed",
}
_SILENCE = TroubleId(TroubleArea.SILENCE)


def read_inputs(
    store: Reader, cells: Sequence[str], now: datetime, daemon_troubles: Sequence[Trouble] | None
) -> AlertInputs:
    """Return the inputs of these cells. ``daemon_troubles`` is None where the daemon's state is not known yet."""
    outbox = store.outbox
    open_troubles = {TroubleId.parse(slug): line for slug, line in outbox.open_troubles().items()}
    fine = set(_fine(store, now, open_troubles))
    if daemon_troubles is not None:
        fine |= {trouble for trouble in open_troubles if trouble.area is TroubleArea.DAEMON}
    new_models = [
        NewModel(row["id"], row["organisation"], row["architecture"], row["released"] or "")
        for row in outbox.models_not_announced()
    ]
    return AlertInputs(
        began=date.fromisoformat((outbox.began() or stamp(now))[:10]),
        announced=outbox.announced_of(cells),
        histories=_histories(store, cells, {model.id for model in new_models}) if cells else [],
        new_models=new_models,
        new_layouts=list(_layouts(store)),
        withdrawn=[
            WithdrawnFlip(
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
        troubles=[*_troubles(store, now), *(daemon_troubles or ())],
        fine=frozenset(fine),
        open_troubles=open_troubles,
        stamp=stamp(now),
    )


def _layouts(store: Reader) -> Iterator[NewLayout]:
    for row in store.outbox.layouts_not_announced():
        yield NewLayout(
            model=row["model_id"],
            organisation=row["organisation"],
            revision=row["revision"][:12],
            key=row["key"],
            line=_LAYOUT_LINES[row["kind"]],
            sentences=tuple(json.loads(row["sentences"])),
            day=row["at"][:10],
        )


def _histories(store: Reader, cells: Sequence[str], new_models: Collection[str]) -> list[CellHistory]:
    flips: dict[str, list[dict[str, Any]]] = {}
    for row in store.outbox.flips_of(cells):
        flips.setdefault(row["cell_id"], []).append(row)
    new = {*new_models, *store.outbox.models_announced_as_new()}
    evidence = Evidence(store)
    return [
        CellHistory(
            track,
            tuple(_flip(evidence, track, row) for row in flips.get(track.cell, ())),
            new_model=track.subject.model_id in new,
        )
        for track in store.tracks_of(cells)
    ]


def _flip(evidence: Evidence, track: Track, row: Mapping[str, Any]) -> FlipEvidence:
    day, confirmed = date.fromisoformat(row["day"]), date.fromisoformat(row["confirmed"])
    announced = row["announced_at"] is not None
    flip = FlipEvidence(row["id"], day, CellVerdict(row["before"]), CellVerdict(row["after"]), confirmed, announced)
    if announced:
        return flip  # a history may have hundreds, and only new flips need their evidence
    valid = [
        observation.day
        for observation in track.observations
        if observation.day < day and observation.verdict is not CellVerdict.UNKNOWN
    ]
    last = valid[-1] if valid else None
    since, moved = evidence.between(track.cell, Span(last, confirmed))
    return replace(flip, since=since, last=evidence.on(track.cell, last), moved=moved)


def _troubles(store: Reader, now: datetime) -> Iterator[Trouble]:
    rows = store.outbox.latest_day()
    for row in rows:
        if row["ours"] == row["cells"]:
            sentence = (
                f"nothing could be measured in {row['runtime']} on {row['day']}: all {row['cells']} cells are unknown"
                f" because of infra faults, such as: {row['reason']}"
            )
            yield Trouble(_measuring(row), sentence, row["runtime"])
    if rows and not _recent(rows[0]["day"], now):
        yield Trouble(_SILENCE, f"nothing has been recorded since {rows[0]['day']}")
    for target, problem in store.outbox.given_up().items():
        yield Trouble(TroubleId(TroubleArea.TARGET, target), f"messages to {target} failed for good: {problem}")


def _fine(store: Reader, now: datetime, open_troubles: Collection[TroubleId]) -> Iterator[TroubleId]:
    rows = store.outbox.latest_day()
    yield from (_measuring(row) for row in rows if row["ours"] < row["cells"])
    if rows and _recent(rows[0]["day"], now):
        yield _SILENCE
    given_up = store.outbox.given_up()
    for trouble in open_troubles:
        if trouble.area is TroubleArea.TARGET and trouble.name not in given_up:
            yield trouble


def _measuring(row: Mapping[str, Any]) -> TroubleId:
    return TroubleId(TroubleArea.MEASURING, f"{row['runtime']} {row['platform']}")


def _recent(day: str, now: datetime) -> bool:
    return (now.astimezone(UTC).date() - date.fromisoformat(day)).days < SILENT_DAYS
