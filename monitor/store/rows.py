"""Turns rows into the domain's types, by the annotations of their fields."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from monitor import domain
from monitor.domain import Platform, Rung, RungVerdict, RunVerdict
from monitor.judge.confirm import Attempt
from monitor.judge.days import Day, DayRun, Fingerprint
from monitor.judge.runs import Stage
from monitor.sources.changes import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed import DataclassInstance
    from sqlite_utils import Database

    from monitor.domain import CheckResult

    Row: TypeAlias = Mapping[str, Any]
    T = TypeVar("T", bound=DataclassInstance)


def select(db: Database, sql: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """Run a question on a cursor of its own, so that the connection's other users keep their tuples."""
    cursor = db.conn.cursor()
    cursor.row_factory = sqlite3.Row
    return [dict(row) for row in cursor.execute(sql, tuple(parameters))]


def first_row(db: Database, sql: str, *key: str | None) -> Row | None:
    """Return the first row that the key finds."""
    rows = select(db, sql, key) if all(key) else []
    return rows[0] if rows else None


def names(db: Database, sql: str) -> list[str]:
    return [row["id"] for row in select(db, sql)]


def _unchanged(value: Any) -> Any:
    return value


def _rung(value: str | int) -> Rung:
    return Rung[value.upper()] if isinstance(value, str) else Rung(value)


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    **{
        name: getattr(domain, name)
        for name in (
            *("Blame", "CellVerdict", "Channel", "Compatibility", "ModelKind", "Origin", "Outcome", "Purpose"),
            *("Runtime", "SubjectForm", "Verdict", "ReleaseKind", "Confidence"),
        )
    },
    **dict.fromkeys(("int", "float", "RunVerdict", "Fingerprint", "tuple[RungVerdict, ...]"), _unchanged),
    "str": lambda value: value or "",  # a column without a value is an empty text
    "bool": bool,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "Platform": Platform.parse,
    "Rung": _rung,
    "EventKind": EventKind,
    "Stage": Stage,
    "Ending": lambda value: domain.Ending(**json.loads(value)),
    "dict[str, Any]": json.loads,
    "Mapping[str, str]": json.loads,
    "tuple[str, ...]": lambda value: tuple(json.loads(value)),
}


def from_row(record: type[T], row: Row) -> T:
    """Return the row as the dataclass ``record``, whose fields have the names of the columns."""
    return record(**{name: convert(row[name]) for name, convert in _conversions(record) if name in row})


@cache
def _conversions(record: type[DataclassInstance]) -> list[tuple[str, Callable[[Any], Any]]]:
    return [(field.name, _conversion(str(field.type))) for field in fields(record)]


def _conversion(annotation: str) -> Callable[[Any], Any]:
    plain = annotation.removesuffix(" | None")
    convert = _CONVERSIONS[plain]
    return convert if plain == annotation else lambda value: None if value is None else convert(value)


def day_run(row: Row, checks: Iterable[CheckResult]) -> DayRun:
    return DayRun(
        origin=domain.Origin(row["origin"]),
        purpose=domain.Purpose(row["purpose"]),
        fingerprint=fingerprint(row),
        version=row["version"],
        attempt=Attempt(
            tuple(checks),
            bool(row["solo"]),
            row["limit_factor"],
            row["id"],
            # one start of the daemon resolves once and runs its sessions there; what does not install resolves again
            invocation=row["resolution_id"] if row["session_id"] else "",
            deep=bool(row["deep"]),
        ),
    )


def fingerprint(row: Row) -> Fingerprint:
    return Fingerprint(row["environment"], row["suite"], row["subject_digest"])


def judged_day(row: Row, rungs: Iterable[Row]) -> Day:
    verdict = from_row(RunVerdict, {**row, "rungs": tuple(from_row(RungVerdict, rung) for rung in rungs)})
    return from_row(Day, {**row, "verdict": verdict, "fingerprint": fingerprint(row)})
