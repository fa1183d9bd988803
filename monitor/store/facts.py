"""What probes told beside their checks: each value once, and the longest only in the events that are kept anyway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from monitor.judge.changes import FACT
from monitor.judge.parity import TRACE
from monitor.store.text_pool import digest_of, teach_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

    from monitor.judge.observations import Fact
    from monitor.store.archive import Archive

# kilobytes of every run and hardly ever twice the same; they would be most of the database
IN_EVENTS = frozenset({FACT, TRACE})
# of a row of facts beside its run and cell
VALUE = "coalesce(facts.value, in_events(runs.events_digest, cells.subject_id, facts.name))"

_TABLES = """
CREATE TABLE told ( -- facts: what a probe told in a run; the view facts reads better
    run INTEGER NOT NULL, -- its number in runs
    position INTEGER NOT NULL,
    name TEXT NOT NULL, -- imported, resources, logprobs, trace, heard and so on
    value INTEGER REFERENCES told_values (number), -- NULL where it is too long: it stays in the run's events
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE told_values ( -- facts: what probes told, each value once
    number INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL UNIQUE, -- of the value
    value TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX told_heard ON told (run) WHERE name = 'heard'; -- what differs from the reference, which is rare
"""
_MOVED = (
    "INSERT OR IGNORE INTO told_values SELECT NULL, digest_of(value), value FROM facts",
    """
INSERT INTO told
SELECT runs.number, row_number() OVER (PARTITION BY run_id ORDER BY facts.rowid), name, told_values.number
FROM facts JOIN runs ON runs.id = run_id JOIN told_values ON digest = digest_of(facts.value)
""",
    "DROP TABLE facts",
    """
CREATE VIEW facts AS -- one row a run and fact; a value is NULL where it is too long: it stays in the run's events
SELECT
    runs.id AS run_id,
    told.name AS name,
    told_values.value AS value
FROM told
JOIN runs ON runs.number = told.run
LEFT JOIN told_values ON told_values.number = told.value
""",
)
TABLES = ("told", "told_values")


def tell_once(db: Database) -> None:
    """Move every fact; a migration's step."""
    teach_digest(db)
    for statement in (*_TABLES.split(";\n"), *_MOVED):
        if statement.strip():
            db.execute(statement)


def write_facts(db: Database, run: str, facts: Iterable[Fact]) -> None:
    (number,) = db.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()
    told = [(fact.name, None if fact.name in IN_EVENTS else json.dumps(fact.value)) for fact in facts]
    digests = [None if value is None else digest_of(value) for _, value in told]
    db.conn.executemany(
        "INSERT OR IGNORE INTO told_values VALUES (NULL, ?, ?)",
        [(digest, value) for digest, (_, value) in zip(digests, told, strict=True) if value is not None],
    )
    db.conn.executemany(
        "INSERT INTO told VALUES (?, ?, ?, (SELECT number FROM told_values WHERE digest = ?))",
        [
            (number, position, name, digest)
            for position, (digest, (name, _)) in enumerate(zip(digests, told, strict=True))
        ],
    )


def teach_events(db: Database, events: Archive) -> None:
    """Let SQL read the facts that stay in a run's events: NULL where those are no longer kept."""

    def in_events(digest: str, subject: str, name: str) -> str | None:
        raw = events.read(digest) if digest else None
        if raw is None:
            return None
        from monitor.wire.stream import read_events  # with its parser, which a reader of tables does without

        session = read_events(raw, [subject])
        told = (*session.own.facts, *session.subjects[subject].facts)
        return next((json.dumps(fact.value) for fact in reversed(told) if fact.name == name), None)

    db.conn.create_function("in_events", 3, in_events)
