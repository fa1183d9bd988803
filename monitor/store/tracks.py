"""Reads whole histories as tracks: the days of each cell, at the bar or on one rung, in the words of stability."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from containers.recipes import RECIPES
from monitor.domain import CellVerdict, Channel, ModelKind, Platform, Rung, Runtime, Subject, Verdict
from monitor.stability.values import Observation, of_rung
from monitor.store.records import imported_pins
from monitor.store.rows import from_row, select

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlite_utils import Database

    from monitor.store.rows import Row

_KEYS = ("runtime", "channel", "platform")
_CELLS = (
    "SELECT cells.id AS cell, runtime, channel, platform, family, organisation, kind, released, released_source,"
    " subjects.* FROM cells JOIN subjects ON subjects.id = subject_id JOIN models ON models.id = model_id"
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
    )


def _days(db: Database, rung: Rung | None, cells: list[str]) -> Mapping[str, list[Observation]]:
    verdict = "days.verdict" if rung is None else "day_rungs.verdict"
    joined = (
        ""
        if rung is None
        else " JOIN day_rungs ON day_rungs.cell_id = days.cell_id AND day_rungs.day = coalesce(carried_from, days.day)"
        f" AND step = {int(rung)}"
    )
    # whole histories are a hundred thousand rows: tuples, and each text turned into a value once
    rows = db.conn.execute(
        f"SELECT days.cell_id, days.day, {verdict}, version, environment, subject_digest, carried_from IS NOT NULL"  # noqa: S608 - as above
        f" FROM days{joined} WHERE days.cell_id IN (SELECT value FROM json_each(?)) ORDER BY days.cell_id, days.day",
        [json.dumps(cells)],
    ).fetchall()
    pins = pins_by_environment(db, {environment for _, _, _, _, environment, _, _ in rows})
    dates = {text: date.fromisoformat(text) for text in {row[1] for row in rows}}
    verdicts = {text: _cell_verdict(text, rung) for text in {row[2] for row in rows}}
    observations: dict[str, list[Observation]] = defaultdict(list)
    for cell, day, text, version, environment, epoch, carried in rows:
        seen = verdicts[text]
        if seen is not None:
            observations[cell].append(
                Observation(dates[day], seen, version, pins.get(environment, environment), epoch, carried=bool(carried))
            )
    return observations


def _cell_verdict(text: str, rung: Rung | None) -> CellVerdict | None:
    """Return a day's verdict as that of a cell; None where the rung does not apply."""
    if rung is None:
        return CellVerdict(text)
    return None if text == Verdict.NOT_APPLICABLE else of_rung(Verdict(text))


def pins_by_environment(db: Database, digests: Collection[str]) -> dict[str, str]:
    """Return, by digest, the pins that a probe imports."""
    wanted = "SELECT digest, runtime, packages FROM environments WHERE digest IN (SELECT value FROM json_each(?))"
    return {
        row["digest"]: imported_pins(json.loads(row["packages"]), RECIPES[row["runtime"]].imported)
        for row in select(db, wanted, [json.dumps(list(digests))])
    }
