"""One run or one cell with everything that belongs to it, as a reader is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict, Origin
from monitor.errors import UnknownName
from monitor.judge.days import control_key
from monitor.judge.parity import differs_from_reference
from monitor.judge.verdict import Circumstances, judge_run
from monitor.store import history
from monitor.store.facts import VALUE
from monitor.store.goldens import doubt_about
from monitor.store.parity import cause_of
from monitor.store.rows import fingerprint_of, names, row_at, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlite_utils import Database

    from monitor.domain import CheckResult, RunVerdict, Subject
    from monitor.judge.days import Day


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with everything that belongs to it; ``verdict`` is that of this run alone."""

    id: str
    row: Mapping[str, Any]
    checks: tuple[CheckResult, ...]
    verdict: RunVerdict
    note: str  # that its values have changed, which is no verdict
    cause: str  # why its numbers differ from the reference's, where they do and somebody has found out
    facts: Mapping[str, Any]
    resolution: Mapping[str, Any]
    session: Mapping[str, Any] | None
    ending: Mapping[str, Any] | None  # of the session; None while it goes on, and when it was interrupted


@dataclass(frozen=True, slots=True)
class CellDetail:
    id: str
    subject: Subject
    row: Mapping[str, Any]
    days: tuple[Day, ...]  # oldest first
    runs: tuple[Mapping[str, Any], ...]  # oldest first, of every origin
    flips: tuple[Mapping[str, Any], ...]


def run_detail(db: Database, name: str) -> RunDetail:
    """Return the run whose id begins with ``name``, if just one does."""
    begins = "SELECT * FROM runs WHERE id >= ? AND id < ?"
    found = rows(db, begins, (name, name + "\N{REPLACEMENT CHARACTER}")) if name else []
    if len(found) != 1:
        hint = f"{len(found)} runs begin with that" if found else "`settle show CELL` lists a cell's runs"
        raise UnknownName("run", name, names(db, "SELECT id FROM runs"), hint=hint)
    row = found[0]
    cell_id, session_id = row["cell_id"], row["session_id"]
    subject, runtime = history.subject_of_cell(db, cell_id)
    checks = tuple(history.checks_of(db, [row["id"]]).get(row["id"], []))
    key = control_key(date.fromisoformat(row["day"]), Origin(row["origin"]), fingerprint_of(row))
    control = history.control_on(db, cell_id, key)
    doubt = doubt_about(db, row["subject_digest"])
    verdict = judge_run(checks, Circumstances(subject, runtime, row["version"], control, doubt=doubt))
    facts = rows(
        db,
        f"SELECT name, {VALUE} AS value FROM facts JOIN runs ON runs.id = facts.run_id"  # noqa: S608 - the constant
        " JOIN cells ON cells.id = runs.cell_id WHERE facts.run_id = ?",
        (row["id"],),
    )
    return RunDetail(
        id=row["id"],
        row=row,
        checks=checks,
        verdict=verdict,
        note=history.note_on_run(db, row) if verdict.verdict is CellVerdict.WORKS else "",
        cause=cause_of(db, runtime, subject.architecture) if differs_from_reference(checks) else "",
        facts={fact["name"]: json.loads(fact["value"]) for fact in facts if fact["value"]},
        resolution=rows(db, "SELECT * FROM resolutions WHERE id = ?", (row["resolution_id"],))[0],
        session=row_at(db, "SELECT * FROM sessions WHERE id = ?", session_id),
        ending=row_at(db, "SELECT * FROM endings WHERE session_id = ?", session_id),
    )


def cell_detail(db: Database, cell_id: str) -> CellDetail:
    row = row_at(db, "SELECT * FROM cells WHERE id = ?", cell_id)
    if row is None:
        raise UnknownName("cell", cell_id, names(db, "SELECT id FROM cells"), hint="`settle status` lists the cells")
    return CellDetail(
        id=cell_id,
        subject=history.subject_of_cell(db, cell_id)[0],
        row=row,
        days=tuple(history.stored_days(db, cell_id)),
        runs=tuple(rows(db, "SELECT * FROM runs WHERE cell_id = ? ORDER BY started_at, rowid", (cell_id,))),
        flips=tuple(rows(db, "SELECT * FROM flips WHERE cell_id = ? ORDER BY day", (cell_id,))),
    )
