"""Reads whole histories as tracks: the days of each cell, at the bar or on one rung, in the words of stability."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from containers.recipes import RECIPES
from monitor.domain import (
    Cell,
    CellVerdict,
    Channel,
    Confidence,
    ModelKind,
    Platform,
    ReleaseKind,
    Rung,
    Runtime,
    Subject,
    Verdict,
)
from monitor.stability.values import Observation, up_to_rung
from monitor.store.records import imported_pins
from monitor.store.rows import from_row, select

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlite_utils import Database

    from monitor.store.rows import Row

_KEYS = ("runtime", "channel", "platform")
_CELLS = (
    "SELECT cells.id AS cell, runtime, channel, platform, family, organisation, kind, released, released_source,"
    " created, released_kind, released_confidence, subjects.* FROM cells JOIN subjects ON subjects.id = subject_id"
    " JOIN models ON models.id = model_id"
)


@dataclass(frozen=True, slots=True)
class Track:
    """The history of one cell, at the bar (``rung`` None) or on one rung; a day each, oldest first."""

    cell: str
    subject: Subject
    family: str
    organisation: str
    kind: ModelKind
    released: date | None
    released_source: str
    runtime: Runtime
    channel: Channel
    platform: Platform
    rung: Rung | None
    observations: tuple[Observation, ...]
    created: date | None = None  # the earliest day of the release, where that is not ``released`` alone
    released_kind: ReleaseKind | None = None
    released_confidence: Confidence | None = None


def read_tracks(db: Database, *, rung: Rung | None = None, **wanted: str) -> list[Track]:
    """Return the tracks of the cells whose columns (cell, model, runtime, channel, platform) equal what is wanted."""
    columns = {"cell": "cells.id", "model": "models.id", **{name: name for name in _KEYS}}
    where = " AND ".join(["1", *(f"{columns[name]} = ?" for name in wanted)])
    sql = f"{_CELLS} WHERE {where} ORDER BY released IS NULL, family, model_id, subjects.id, {', '.join(_KEYS)}"
    return _tracks(db, rung, select(db, sql, wanted.values()))


def tracks_of(db: Database, cells: Collection[str], rung: Rung | None = None) -> list[Track]:
    """Return the tracks, at the bar or on one rung, of the cells with these ids."""
    chosen = f"{_CELLS} WHERE cells.id IN (SELECT value FROM json_each(?)) ORDER BY cells.id"  # noqa: S608 - as above
    return _tracks(db, rung, select(db, chosen, [json.dumps(list(cells))]))


def _tracks(db: Database, rung: Rung | None, cells: Sequence[Row]) -> list[Track]:
    days = _days(db, rung, [cell["cell"] for cell in cells])
    return [_track(cell, rung, days[cell["cell"]]) for cell in cells if days[cell["cell"]]]


def _track(row: Mapping[str, Any], rung: Rung | None, days: list[Observation]) -> Track:
    return Track(
        cell=row["cell"],
        subject=from_row(Subject, row),
        family=row["family"],
        organisation=row["organisation"],
        kind=ModelKind(row["kind"]),
        released=date.fromisoformat(row["released"]) if row["released"] else None,
        released_source=row["released_source"],
        runtime=Runtime(row["runtime"]),
        channel=Channel(row["channel"]),
        platform=Platform.parse(row["platform"]),
        rung=rung,
        observations=tuple(days),
        created=date.fromisoformat(row["created"]) if row["created"] else None,
        released_kind=ReleaseKind(row["released_kind"]) if row["released_kind"] else None,
        released_confidence=Confidence(row["released_confidence"]) if row["released_confidence"] else None,
    )


def _days(db: Database, rung: Rung | None, cells: list[str]) -> Mapping[str, list[Observation]]:
    # whole histories are a hundred thousand rows: tuples, and each text turned into a value once
    rows = db.conn.execute(
        "SELECT cell_id, day, verdict, version, environment, subject_digest, carried_from FROM days"
        " WHERE cell_id IN (SELECT value FROM json_each(?)) ORDER BY cell_id, day",
        [json.dumps(cells)],
    ).fetchall()
    pins = pins_by_environment(db, {environment for _, _, _, _, environment, _, _ in rows})
    dates = {text: date.fromisoformat(text) for text in {row[1] for row in rows}}
    verdicts = {str(verdict): verdict for verdict in CellVerdict}
    on_rung = _up_to(db, rung, cells) if rung is not None else {}
    wrong = _wrong_numbers(db, cells) if rung is None else set()
    observations: dict[str, list[Observation]] = defaultdict(list)
    for cell, day, text, version, environment, epoch, carried in rows:
        seen = verdicts[text] if rung is None else on_rung.get((cell, carried or day))
        if seen is not None:
            off = seen is CellVerdict.WORKS and (cell, carried or day) in wrong
            pinned = pins.get(environment, environment)
            observations[cell].append(Observation(dates[day], seen, version, pinned, epoch, bool(carried), off))
    return observations


def _wrong_numbers(db: Database, cells: list[str]) -> set[tuple[str, str]]:
    """Return the cells and probed days whose numbers differ from the reference's."""
    sql = (
        "SELECT cell_id, day FROM day_rungs WHERE step = ? AND verdict = ?"
        " AND cell_id IN (SELECT value FROM json_each(?))"
    )
    return set(db.conn.execute(sql, (int(Rung.MATCHES), str(Verdict.FAILED), json.dumps(cells))))


def _up_to(db: Database, rung: Rung, cells: list[str]) -> Mapping[tuple[str, str], CellVerdict | None]:
    """Return, by cell and probed day, the verdict on a rung and all below it; None where the rung does not apply."""
    steps = {int(step): step for step in Rung}
    verdicts = {str(verdict): verdict for verdict in Verdict}
    probed: dict[tuple[str, str], dict[Rung, Verdict]] = defaultdict(dict)
    for cell, day, step, verdict in db.conn.execute(
        "SELECT cell_id, day, step, verdict FROM day_rungs"
        " WHERE step <= ? AND cell_id IN (SELECT value FROM json_each(?))",
        (int(rung), json.dumps(cells)),
    ):
        probed[cell, day][steps[step]] = verdicts[verdict]
    asked = {cell for (cell, _), by_rung in probed.items() if rung in by_rung}
    bars = {cell: Cell.parse(cell).runtime.record.bar for cell in asked}
    return {
        (cell, day): up_to_rung(rung, by_rung, bars[cell]) for (cell, day), by_rung in probed.items() if cell in asked
    }


def pins_by_environment(db: Database, digests: Collection[str]) -> dict[str, str]:
    """Return, by digest, the pins that a probe imports."""
    wanted = "SELECT digest, runtime, packages FROM environments WHERE digest IN (SELECT value FROM json_each(?))"
    return {
        row["digest"]: imported_pins(json.loads(row["packages"]), RECIPES[row["runtime"]].imported)
        for row in select(db, wanted, [json.dumps(list(digests))])
    }
