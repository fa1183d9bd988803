"""Writes each distinct check result, verdict and fact once; the longest facts stay in the events of their run."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from monitor.judge.changes import FACT
from monitor.judge.parity import TRACE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

    from monitor.judge.observations import Fact
    from monitor.store.archive import FileArchive

_BYTES = 8
# kilobytes of every run and hardly ever twice the same; they would be most of the database
IN_EVENTS = frozenset({FACT, TRACE})
# of a row of facts beside its run and cell
VALUE = "coalesce(facts.value, in_events(runs.events_digest, cells.subject_id, facts.name))"


def digest_of(*values: str | None) -> int:
    """Return a number that is the same for equal values, and in practice for no others."""
    text = json.dumps(values, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_BYTES], signed=True)


def write_check_results(db: Database, results: Iterable[tuple[str | None, ...]]) -> list[int]:
    """Write those that are new, as the columns of ``check_results``; return the digests of all."""
    return _write(db, "INSERT OR IGNORE INTO check_results VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", results)


def write_verdicts(db: Database, verdicts: Iterable[tuple[str | None, ...]]) -> list[int]:
    """Write those that are new, as the columns of ``verdicts``; return the digests of all."""
    return _write(db, "INSERT OR IGNORE INTO verdicts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", verdicts)


def _write(db: Database, sql: str, rows: Iterable[tuple[str | None, ...]]) -> list[int]:
    digests = [(digest_of(*row), row) for row in rows]
    db.conn.executemany(sql, [(digest, *row) for digest, row in digests])
    return [digest for digest, _ in digests]


def delete_unused(db: Database) -> None:
    """Delete check results and verdicts that no row references."""
    db.execute("DELETE FROM check_results WHERE number NOT IN (SELECT result FROM run_checks)")
    db.execute(
        "DELETE FROM verdicts WHERE number NOT IN"
        " (SELECT verdict FROM day_verdicts UNION SELECT verdict FROM rung_verdicts)"
    )


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


def teach_events(db: Database, events: FileArchive) -> None:
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
