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
    from monitor.judge.parity import ParityCause
    from monitor.store.records import Departure, EnvironmentRecord, ResolutionRecord, SessionRecord


def write_models(db: Database, models: Iterable[Model]) -> None:
    db.conn.executemany(
        "INSERT INTO models (id, family, architecture, kind, organisation, released, released_source, license, note,"
        " control, created, released_kind, released_confidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET"
        " family = excluded.family, architecture = excluded.architecture, kind = excluded.kind,"
        " organisation = excluded.organisation, released = excluded.released,"
        " released_source = excluded.released_source, license = excluded.license, note = excluded.note,"
        " control = excluded.control, created = excluded.created, released_kind = excluded.released_kind,"
        " released_confidence = excluded.released_confidence",
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
                model.created.isoformat() if model.created else None,
                model.released_kind,
                model.released_confidence,
            )
            for model in models
        ],
    )


def write_subjects(db: Database, subjects: Iterable[Subject]) -> None:
    db.conn.executemany(
        "INSERT INTO subjects VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " model_id = excluded.model_id, form = excluded.form, architecture = excluded.architecture,"
        " digest = excluded.digest, first_known = excluded.first_known,"
        " control = excluded.control,"
        # what has passed here with the same files stays qualified, whatever the catalogue knows
        " qualified = max(excluded.qualified, qualified AND subjects.digest = excluded.digest"
        " AND excluded.form = 'miniature')",
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


def write_parity_causes(db: Database, causes: Iterable[ParityCause]) -> None:
    """Replace the list."""
    db.execute("DELETE FROM parity_causes")
    db.conn.executemany(
        "INSERT INTO parity_causes (runtime, architecture, cause, of_reference) VALUES (?, ?, ?, ?)",
        [
            (str(runtime), cause.architecture, cause.explanation, int(cause.of_reference))
            for cause in causes
            for runtime in cause.runtimes
        ],
    )


def write_environment(db: Database, environment: EnvironmentRecord) -> None:
    """Write an environment once: a rebuilt one is the same one."""
    db.execute(
        "INSERT OR IGNORE INTO environments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            environment.digest,
            str(environment.runtime),
            environment.version,
            str(environment.platform),
            environment.base_digest,
            environment.lock,
            json.dumps(dict(environment.packages), sort_keys=True),
            stamp(environment.created_at),
            environment.resolve_s,
            environment.build_s,
        ),
    )


def write_resolution(db: Database, resolution: ResolutionRecord, log_digest: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO resolutions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            resolution.id,
            resolution.day.isoformat(),
            str(resolution.origin),
            str(resolution.runtime),
            str(resolution.channel),
            str(resolution.platform),
            resolution.requested,
            resolution.version,
            stamp(resolution.cutoff) if resolution.cutoff else None,
            stamp(resolution.at),
            resolution.seconds,
            resolution.environment_digest or None,
            str(resolution.failed) if resolution.failed else None,
            resolution.fault,
            resolution.message,
            log_digest,
        ),
    )


def write_session(db: Database, session: SessionRecord, request_digest: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session.id,
            session.resolution_id,
            session.environment_digest,
            session.suite,
            session.engine,
            int(session.solo),
            session.limit_factor,
            request_digest,
            stamp(session.started_at),
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
        [(resolution_id, departure.package, departure.version, departure.why) for departure in departures],
    )


def stamp(when: datetime) -> str:
    """Return a moment as text that sorts: UTC, to the microsecond."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
