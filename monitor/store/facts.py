"""Writes what probes record beside their checks, each value once, and reads the longest from the run's events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from monitor.judge.changes import FACT
from monitor.judge.parity import TRACE
from monitor.store.text_pool import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

    from monitor.judge.observations import Fact
    from monitor.store.archive import Archive

# kilobytes of every run and hardly ever twice the same; they would be most of the database
IN_EVENTS = frozenset({FACT, TRACE})
# of a row of facts beside its run and cell
VALUE = "coalesce(facts.value, in_events(runs.events_digest, cells.subject_id, facts.name))"


def write_facts(db: Database, run: str, facts: Iterable[Fact]) -> None:
    (number,) = db.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()
    values = [(fact.name, None if fact.name in IN_EVENTS else json.dumps(fact.value)) for fact in facts]
    digests = [None if value is None else digest_of(value) for _, value in values]
    db.conn.executemany(
        "INSERT OR IGNORE INTO fact_values VALUES (NULL, ?, ?)",
        [(digest, value) for digest, (_, value) in zip(digests, values, strict=True) if value is not None],
    )
    db.conn.executemany(
        "INSERT INTO run_facts VALUES (?, ?, ?, (SELECT number FROM fact_values WHERE digest = ?))",
        [
            (number, position, name, digest)
            for position, (digest, (name, _)) in enumerate(zip(digests, values, strict=True))
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
        recorded = (*session.shared.facts, *session.subjects[subject].facts)
        return next((json.dumps(fact.value) for fact in reversed(recorded) if fact.name == name), None)

    db.conn.create_function("in_events", 3, in_events)
