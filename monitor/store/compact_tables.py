"""Checks, days and their rungs as rows of numbers under views of their old names: a tenth of the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.facts import tell_once
from monitor.store.text_pool import TABLES as SAYINGS
from monitor.store.text_pool import teach_digest
from monitor.store.views import BY_RELEASE, CURRENT, HISTORY, MATRIX

if TYPE_CHECKING:
    from sqlite_utils import Database

# facts may not be updated; for this one new column, which says nothing, they are
_NUMBERS = (
    "ALTER TABLE cells ADD COLUMN number /* what derived tables call it */ INTEGER",
    "UPDATE cells SET number = rowid",
    "CREATE UNIQUE INDEX cells_by_number ON cells (number)",
    "ALTER TABLE runs ADD COLUMN number /* what derived tables call it, in the order of recording */ INTEGER",
    "DROP TRIGGER runs_never_update",
    "UPDATE runs SET number = rowid",
    "CREATE UNIQUE INDEX runs_by_number ON runs (number)",
    "CREATE INDEX subjects_by_model ON subjects (model_id)",
    "DROP INDEX runs_by_environment",  # a digest in every row, and only the day was ever asked for
    "CREATE INDEX runs_by_day ON runs (day)",
)

_TABLES = """
CREATE TABLE checked ( -- derived: a row a run and check; the view checks reads better
    run INTEGER NOT NULL, -- its number in runs
    position INTEGER NOT NULL, -- in the order in which the run's checks were asked
    finding INTEGER NOT NULL REFERENCES findings (number),
    seconds REAL NOT NULL, -- that the check took
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE judged_days ( -- derived: a row a cell and day; the view days reads better
    cell INTEGER NOT NULL, -- its number in cells
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live or replay; live wins
    opinion INTEGER NOT NULL REFERENCES opinions (number),
    run INTEGER NOT NULL, -- the number in runs of the one that speaks for the day
    carried_from TEXT, -- the day whose verdict it is, where nothing was run
    leaning TEXT, -- the verdict that waits to be confirmed
    note TEXT NOT NULL, -- what differs from earlier days and is no verdict
    PRIMARY KEY (cell, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX judged_days_by_day ON judged_days (day);
CREATE TABLE judged_rungs ( -- derived: a row a cell, day that is not carried, and rung; the view day_rungs reads better
    cell INTEGER NOT NULL,
    day TEXT NOT NULL,
    step INTEGER NOT NULL, -- number of the rung
    opinion INTEGER NOT NULL REFERENCES opinions (number),
    PRIMARY KEY (cell, day, step),
    FOREIGN KEY (cell, day) REFERENCES judged_days (cell, day) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
"""

_FINDING = "name, rung, outcome, fault, blame, message, signature, evidence"
_OPINION = "verdict, rung, reason, blame, fault, signature"


def _said(once: str, columns: str, table: str) -> str:
    return (
        f"INSERT OR IGNORE INTO {once} SELECT NULL, digest_of({columns}), {columns}"  # noqa: S608 - the constants above
        f" FROM (SELECT DISTINCT {columns} FROM {table})"
    )


def _digest(table: str, columns: str) -> str:
    return f"digest_of({', '.join(f'{table}.{column}' for column in columns.split(', '))})"


_MOVED = (
    _said("findings", _FINDING, "checks"),
    _said("opinions", _OPINION, "days"),
    _said("opinions", _OPINION, "day_rungs"),
    f"""INSERT INTO checked SELECT runs.number, position, findings.number, checks.seconds FROM checks
        JOIN runs ON runs.id = run_id JOIN findings ON digest = {_digest("checks", _FINDING)}""",  # noqa: S608 - as above
    f"""INSERT INTO judged_days
        SELECT cells.number, days.day, days.origin, opinions.number, runs.number, carried_from, leaning, note FROM days
        JOIN cells ON cells.id = days.cell_id JOIN runs ON runs.id = run_id
        JOIN opinions ON digest = {_digest("days", _OPINION)}""",  # noqa: S608 - as above
    f"""INSERT INTO judged_rungs SELECT cells.number, day, step, opinions.number FROM day_rungs
        JOIN cells ON cells.id = day_rungs.cell_id
        JOIN opinions ON digest = {_digest("day_rungs", _OPINION)}""",  # noqa: S608 - as above
    *(f"DROP VIEW {view}" for view in ("matrix", "current", "history", "by_release")),
    *(f"DROP TABLE {table}" for table in ("day_rungs", "days", "checks")),
)

# a left join on a key is left out of a question that needs nothing of it
_CHECKS = """
CREATE VIEW checks AS -- one row a run and check, in the order in which they were asked
SELECT
    runs.id AS run_id,
    checked.position AS position,
    findings.name AS name,
    findings.rung AS rung,
    findings.outcome AS outcome,
    findings.fault AS fault,
    findings.blame AS blame,
    findings.message AS message,
    findings.signature AS signature,
    checked.seconds AS seconds,
    findings.evidence AS evidence
FROM checked
JOIN runs ON runs.number = checked.run
JOIN findings ON findings.number = checked.finding
"""
_DAYS = """
CREATE VIEW days AS -- one row a cell and day: what it came to, and the run that speaks for it
SELECT
    cells.id AS cell_id,
    judged_days.day AS day,
    judged_days.origin AS origin,
    opinions.verdict AS verdict,
    opinions.rung AS rung,
    opinions.reason AS reason,
    opinions.blame AS blame,
    opinions.fault AS fault,
    opinions.signature AS signature,
    runs.id AS run_id,
    runs.version AS version,
    runs.environment AS environment,
    runs.suite AS suite,
    runs.subject_digest AS subject_digest,
    judged_days.carried_from AS carried_from,
    judged_days.leaning AS leaning,
    judged_days.note AS note
FROM judged_days
JOIN cells ON cells.number = judged_days.cell
LEFT JOIN opinions ON opinions.number = judged_days.opinion
LEFT JOIN runs ON runs.number = judged_days.run
"""
_DAY_RUNGS = """
CREATE VIEW day_rungs AS -- one row a cell, day and rung; a carried day has those of the day it is carried from
SELECT
    cells.id AS cell_id,
    judged_rungs.day AS day,
    judged_rungs.step AS step,
    opinions.rung AS rung,
    opinions.verdict AS verdict,
    opinions.reason AS reason,
    opinions.blame AS blame,
    opinions.fault AS fault,
    opinions.signature AS signature
FROM judged_rungs
JOIN cells ON cells.number = judged_rungs.cell
LEFT JOIN opinions ON opinions.number = judged_rungs.opinion
"""


def number_what_is_derived(db: Database) -> None:
    """Move every check, day and rung into tables of numbers; what they say stays under the old names."""
    guard = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'runs_never_update'").fetchone()[0]
    teach_digest(db)
    statements = [*_NUMBERS, guard, *(SAYINGS + _TABLES).split(";\n"), *_MOVED]
    for statement in (*statements, _CHECKS, _DAYS, _DAY_RUNGS, CURRENT, HISTORY, MATRIX, BY_RELEASE):
        if statement.strip():
            db.execute(statement)
    tell_once(db)
