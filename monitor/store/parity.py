"""How far each runtime's log-probabilities are from the pinned reference's, by release, and why where that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.judge.parity import MATCHES
from monitor.store.rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

    from monitor.judge.parity import ParityCause

CAUSES = """
CREATE TABLE parity_causes ( -- what a person found: written anew from the project's own list
    runtime TEXT NOT NULL,
    architecture TEXT NOT NULL,
    found TEXT NOT NULL,
    PRIMARY KEY (runtime, architecture)
) STRICT, WITHOUT ROWID;
"""

PARITY = f"""
CREATE VIEW parity AS -- one row a cell and version that answered along the reference's tokens: its latest run
SELECT
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    told.version AS version, -- of the runtime
    goldens.runtime AS reference,
    goldens.version AS reference_version, -- that was pinned
    json_extract(told.evidence, '$.maximum') AS max, -- nats, at the token that differs most
    json_extract(told.evidence, '$.p99') AS p99, -- nats, at the 99th percentile
    json_extract(told.evidence, '$.allowed') AS allowed, -- nats
    coalesce(day_rungs.verdict, told.outcome) AS verdict, -- of the rung matches
    CASE WHEN told.outcome = 'failed' THEN parity_causes.found END AS cause, -- what a person found
    told.day AS day,
    subjects.id AS subject,
    cells.id AS cell,
    told.run_id AS run
FROM (
    SELECT
        runs.cell_id,
        runs.version,
        runs.day,
        runs.subject_digest,
        checks.run_id,
        checks.outcome,
        checks.evidence,
        row_number() OVER (
            PARTITION BY runs.cell_id, runs.version ORDER BY runs.started_at DESC, runs.rowid DESC
        ) AS place
    FROM checks
    JOIN runs ON runs.id = checks.run_id
    WHERE checks.name = '{MATCHES}' AND json_extract(checks.evidence, '$.maximum') IS NOT NULL
) AS told
JOIN cells ON cells.id = told.cell_id
JOIN subjects ON subjects.id = cells.subject_id
JOIN models ON models.id = subjects.model_id
LEFT JOIN goldens ON goldens.subject_digest = told.subject_digest
LEFT JOIN parity_causes ON parity_causes.runtime = cells.runtime AND parity_causes.architecture = subjects.architecture
LEFT JOIN days ON days.cell_id = told.cell_id AND days.day = told.day AND days.run_id = told.run_id
LEFT JOIN day_rungs ON day_rungs.cell_id = days.cell_id AND day_rungs.day = days.day AND day_rungs.rung = 'matches'
WHERE told.place = 1
"""  # noqa: S608 - built from the constant above


def parity(db: Database) -> list[dict[str, Any]]:
    """Return the whole view, release by release."""
    return rows(db, "SELECT * FROM parity ORDER BY runtime, version, family, subject")


def write_causes(db: Database, causes: Iterable[ParityCause]) -> None:
    """Write the list anew; the caller holds the transaction."""
    db.execute("DELETE FROM parity_causes")
    db.conn.executemany(
        "INSERT INTO parity_causes VALUES (?, ?, ?)",
        [(str(runtime), cause.architecture, cause.found) for cause in causes for runtime in cause.runtimes],
    )


def cause_of(db: Database, runtime: str, architecture: str) -> str:
    """Return why the runtime's numbers differ for an architecture, "" where nobody has found out."""
    sql = "SELECT found FROM parity_causes WHERE runtime = ? AND architecture = ?"
    found = rows(db, sql, (runtime, architecture))
    return str(found[0]["found"]) if found else ""
