"""Turns rows into the domain's words, at the edge."""

from __future__ import annotations

import json
import sqlite3
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.domain import (
    Blame,
    CellVerdict,
    Channel,
    CheckResult,
    Compatibility,
    Ending,
    Origin,
    Outcome,
    Platform,
    Purpose,
    Release,
    Rung,
    RungVerdict,
    Runtime,
    RunVerdict,
    Subject,
    SubjectForm,
    Verdict,
)
from monitor.judge.confirm import Attempt
from monitor.judge.days import Day, DayRun, Fingerprint
from monitor.judge.installs import Stage
from monitor.store.records import EnvironmentRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlite_utils import Database

    Row: TypeAlias = Mapping[str, Any]


def rows(db: Database, sql: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """Run a question on a cursor of its own, so that the connection's other users keep their tuples."""
    cursor = db.conn.cursor()
    cursor.row_factory = sqlite3.Row
    return [dict(row) for row in cursor.execute(sql, tuple(parameters))]


def row_at(db: Database, sql: str, key: str | None) -> Row | None:
    """Return the first row that the one key finds."""
    found = rows(db, sql, (key,)) if key else []
    return found[0] if found else None


def names(db: Database, sql: str) -> list[str]:
    return [row["id"] for row in rows(db, sql)]


def rung_named(name: str) -> Rung:
    return Rung[name.upper()]


def subject_of(row: Row) -> Subject:
    return Subject(
        id=row["id"],
        model_id=row["model_id"],
        form=SubjectForm(row["form"]),
        architecture=row["architecture"],
        digest=row["digest"],
        qualified=bool(row["qualified"]),
        first_known=row["first_known"],
        control=bool(row["control"]),
    )


def release_of(row: Row) -> Release:
    return Release(
        runtime=Runtime(row["runtime"]),
        version=row["version"],
        channel=Channel(row["channel"]),
        published_at=datetime.fromisoformat(row["published_at"]),
        yanked=row["yanked"],
        requires_python=row["requires_python"],
        wheels=None if row["wheels"] is None else tuple(json.loads(row["wheels"])),
        has_sources=bool(row["has_sources"]),
        fit=Compatibility(row["fit"]),
        revision=row["revision"],
    )


def environment_at(db: Database, digest: str) -> EnvironmentRecord | None:
    found = row_at(db, "SELECT * FROM environments WHERE digest = ?", digest)
    return environment_of(found) if found else None


def environment_of(row: Row) -> EnvironmentRecord:
    return EnvironmentRecord(
        digest=row["digest"],
        runtime=Runtime(row["runtime"]),
        version=row["version"],
        platform=Platform.parse(row["platform"]),
        base_digest=row["base_digest"],
        lock=row["lock"],
        packages=json.loads(row["packages"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        resolve_s=row["resolve_s"],
        build_s=row["build_s"],
    )


def check_of(row: Row) -> CheckResult:
    return CheckResult(
        name=row["name"],
        rung=rung_named(row["rung"]),
        outcome=Outcome(row["outcome"]),
        fault=row["fault"],
        blame=_blame(row),
        message=row["message"],
        signature=row["signature"],
        seconds=row["seconds"],
        evidence=json.loads(row["evidence"]) if row["evidence"] else None,
    )


def ending_of(text: str) -> Ending:
    return Ending(**json.loads(text))


def stage_of(text: str | None) -> Stage | None:
    return Stage(text) if text else None


def day_run_of(row: Row, checks: Iterable[CheckResult]) -> DayRun:
    return DayRun(
        origin=Origin(row["origin"]),
        purpose=Purpose(row["purpose"]),
        fingerprint=fingerprint_of(row),
        version=row["version"],
        attempt=Attempt(
            tuple(checks),
            bool(row["solo"]),
            row["limit_factor"],
            row["id"],
            # one start of the daemon resolves once and holds its sessions there; what does not install it asks again
            invocation=row["resolution_id"] if row["session_id"] else "",
        ),
    )


def fingerprint_of(row: Row) -> Fingerprint:
    return Fingerprint(row["environment"], row["suite"], row["subject_digest"])


def day_of(row: Row, rungs: Iterable[Row]) -> Day:
    verdict = RunVerdict(
        verdict=CellVerdict(row["verdict"]),
        rung=rung_named(row["rung"]) if row["rung"] else None,
        reason=row["reason"],
        blame=_blame(row),
        fault=row["fault"],
        signature=row["signature"],
        rungs=tuple(
            RungVerdict(
                rung=Rung(one["step"]),
                verdict=Verdict(one["verdict"]),
                reason=one["reason"],
                blame=_blame(one),
                fault=one["fault"],
                signature=one["signature"],
            )
            for one in rungs
        ),
    )
    return Day(
        day=date.fromisoformat(row["day"]),
        origin=Origin(row["origin"]),
        verdict=verdict,
        fingerprint=fingerprint_of(row),
        version=row["version"],
        run_id=row["run_id"],
        carried_from=date.fromisoformat(row["carried_from"]) if row["carried_from"] else None,
        leaning=CellVerdict(row["leaning"]) if row["leaning"] else None,
        note=row["note"],
    )


def _blame(row: Row) -> Blame | None:
    return Blame(row["blame"]) if row["blame"] else None
