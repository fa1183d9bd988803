"""Writes facts, one function a kind; the caller holds the transaction."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlite_utils import Database

    from monitor.domain import Ending, Model, Subject
    from monitor.store.records import Departure, EnvironmentRecord, ResolutionRecord, SessionRecord


def write_models(db: Database, models: Iterable[Model]) -> None:
    db.conn.executemany(
        "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " family = excluded.family, architecture = excluded.architecture, kind = excluded.kind,"
        " organisation = excluded.organisation, released = excluded.released,"
        " released_source = excluded.released_source, license = excluded.license, note = excluded.note,"
        " control = excluded.control",
        [
            (
                model.id,
                model.family,
                model.architecture,
                str(model.kind),
                model.organisation,
                model.released.isoformat() if model.released else None,
                model.released_source,
                model.license,
                model.note,
                int(model.control),
            )
            for model in models
        ],
    )


def write_subjects(db: Database, subjects: Iterable[Subject]) -> None:
    db.conn.executemany(
        "INSERT INTO subjects VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " model_id = excluded.model_id, form = excluded.form, architecture = excluded.architecture,"
        " digest = excluded.digest, qualified = excluded.qualified, first_known = excluded.first_known,"
        " control = excluded.control",
        [
            (
                subject.id,
                subject.model_id,
                str(subject.form),
                subject.architecture,
                subject.digest,
                int(subject.qualified),
                subject.first_known,
                int(subject.control),
            )
            for subject in subjects
        ],
    )


def write_environment(db: Database, one: EnvironmentRecord) -> None:
    """Write an environment once: a rebuilt one is the same one."""
    db.execute(
        "INSERT OR IGNORE INTO environments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.digest,
            str(one.runtime),
            one.version,
            str(one.platform),
            one.base_digest,
            one.lock,
            json.dumps(dict(one.packages), sort_keys=True),
            stamp(one.created_at),
            one.resolve_s,
            one.build_s,
        ),
    )


def write_resolution(db: Database, one: ResolutionRecord, log_digest: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO resolutions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.id,
            one.day.isoformat(),
            str(one.origin),
            str(one.runtime),
            str(one.channel),
            str(one.platform),
            one.requested,
            one.version,
            stamp(one.cutoff) if one.cutoff else None,
            stamp(one.at),
            one.seconds,
            one.environment_digest or None,
            str(one.failed) if one.failed else None,
            one.fault,
            one.message,
            log_digest,
        ),
    )


def write_session(db: Database, one: SessionRecord, request_digest: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.id,
            one.resolution_id,
            one.environment_digest,
            one.suite,
            one.engine,
            int(one.solo),
            one.limit_factor,
            request_digest,
            stamp(one.started_at),
        ),
    )


def write_ending(
    db: Database, session_id: str, finished_at: datetime, ending: Ending, *, log_digest: str, log_dropped_bytes: int
) -> None:
    db.execute(
        "INSERT OR IGNORE INTO endings VALUES (?, ?, ?, ?, ?)",
        (session_id, stamp(finished_at), json.dumps(asdict(ending)), log_digest, log_dropped_bytes),
    )


def write_departures(db: Database, resolution_id: str, departures: Iterable[Departure]) -> None:
    db.conn.executemany(
        "INSERT OR IGNORE INTO departures VALUES (?, ?, ?, ?)",
        [(resolution_id, one.package, one.version, one.why) for one in departures],
    )


def stamp(when: datetime) -> str:
    """Return a moment as text that sorts: UTC, to the microsecond."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
