"""Deletes what a clock that was ahead has recorded after a moment: the only deletion of facts, and never by itself."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import UTC, date
from typing import TYPE_CHECKING

from monitor.store.recording import stamp
from monitor.store.rows import select

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlite_utils import Database

# by temporary table: what is of the future, and what belongs to that
_FUTURE = {
    "future_resolutions": "SELECT id FROM resolutions WHERE at > :now OR day > :today",
    "future_sessions": (
        "SELECT id FROM sessions WHERE started_at > :now OR resolution_id IN (SELECT id FROM temp.future_resolutions)"
    ),
    "future_runs": (
        "SELECT number, id, cell_id, day FROM runs WHERE started_at > :now OR day > :today"
        " OR resolution_id IN (SELECT id FROM temp.future_resolutions)"
        " OR session_id IN (SELECT id FROM temp.future_sessions)"
    ),
    "future_carries": (
        "SELECT cell_id, day, origin FROM carries WHERE day > :today"
        " OR resolution_id IN (SELECT id FROM temp.future_resolutions)"
    ),
}
# what refers to another table comes before it
_DELETIONS = {
    "run_checks": "run IN (SELECT number FROM temp.future_runs)",
    "run_facts": "run IN (SELECT number FROM temp.future_runs)",
    "run_traces": "run IN (SELECT number FROM temp.future_runs)",
    "traces": "day > :today",
    "trace_values": "number NOT IN (SELECT answer FROM traces) AND number NOT IN (SELECT answer FROM run_traces)",
    "answers": "run_id IN (SELECT id FROM temp.future_runs)",
    "goldens": "run_id IN (SELECT id FROM temp.future_runs)",
    "runs": "number IN (SELECT number FROM temp.future_runs)",
    "carries": "(cell_id, day, origin) IN (SELECT cell_id, day, origin FROM temp.future_carries)",
    "endings": "finished_at > :now OR session_id IN (SELECT id FROM temp.future_sessions)",
    "sessions": "id IN (SELECT id FROM temp.future_sessions)",
    "departures": "resolution_id IN (SELECT id FROM temp.future_resolutions)",
    "resolutions": "id IN (SELECT id FROM temp.future_resolutions)",
    "popularity": "day > :today",
    "announcements": "at > :now",
    "alert_looks": "day > :today",
    "polls": "asked_at > :now",
    "hub_polls": "asked_at > :now OR due_at > :now",
}


def discard_after(db: Database, now: datetime) -> tuple[Mapping[str, int], dict[str, date]]:
    """Delete what was recorded after a moment; return their numbers by table, and each cell's first day to judge again.

    The caller holds the transaction.
    """
    moment = {"now": stamp(now), "today": now.astimezone(UTC).date().isoformat()}
    for table, sql in _FUTURE.items():
        db.execute(f"DROP TABLE IF EXISTS temp.{table}")
        db.conn.execute(f"CREATE TEMP TABLE {table} AS {sql}", moment)
    touched = select(
        db,
        "SELECT cell_id, min(day) AS day FROM (SELECT cell_id, day FROM temp.future_runs"
        " UNION ALL SELECT cell_id, day FROM temp.future_carries) GROUP BY cell_id",
    )
    deleted: Counter[str] = Counter()
    with _facts_deletable(db):
        for table, condition in _DELETIONS.items():
            deleted[table] = db.conn.execute(f"DELETE FROM {table} WHERE {condition}", moment).rowcount  # noqa: S608 - the constants above
    db.conn.execute("UPDATE outbox SET due_at = :now WHERE due_at > :now AND state IN ('pending', 'failed')", moment)
    db.conn.execute("UPDATE releases SET first_seen = :now WHERE first_seen > :now", moment)
    for table in _FUTURE:
        db.execute(f"DROP TABLE temp.{table}")
    return +deleted, {row["cell_id"]: date.fromisoformat(row["day"]) for row in touched}


@contextmanager
def _facts_deletable(db: Database) -> Iterator[None]:
    """Suspend the triggers that keep facts; an error rolls this back with the whole transaction."""
    names = [f"{table}_never_delete" for table in _DELETIONS]
    triggers = {
        row["name"]: row["sql"]
        for row in select(db, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        if row["name"] in names
    }
    for name in triggers:
        db.execute(f"DROP TRIGGER {name}")
    yield
    for sql in triggers.values():
        db.execute(sql)
