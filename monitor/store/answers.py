"""Judges what was asked by hand of one version, which is no day's history."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from monitor.domain import Origin
from monitor.judge.confirm import Settled, unsettled
from monitor.judge.days import DayFacts, Memory, control_key, decide_day
from monitor.judge.verdict import Circumstances
from monitor.store.goldens import doubt_about
from monitor.store.history import control_on, runs_where, subject_of_cell
from monitor.store.rows import rows

if TYPE_CHECKING:
    from sqlite_utils import Database


def rebuild_answer(db: Database, cell_id: str, version: str) -> None:
    """Judge what was asked by hand of one version again: its latest environment, files and suite speak."""
    found = runs_where(db, "cell_id = ? AND version = ? AND origin = 'adhoc'", (cell_id, version))
    if not found:
        return
    row, last = found[-1]
    day = date.fromisoformat(row["day"])
    runs = [run for one, run in found if one["day"] == row["day"] and run.fingerprint == last.fingerprint]
    subject, runtime = subject_of_cell(db, cell_id)
    control = control_on(db, cell_id, control_key(day, Origin.ADHOC, last.fingerprint))
    doubt = doubt_about(db, last.fingerprint.subject)
    circumstances = Circumstances(subject, runtime, version, control, doubt=doubt)
    decision, _, _ = decide_day(DayFacts(day, tuple(runs)), runs, last.fingerprint, circumstances, Memory())
    told = decision.verdict if isinstance(decision, Settled) else unsettled(decision.leaning, "not confirmed yet")
    db.execute(
        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            cell_id,
            version,
            day.isoformat(),
            str(told.verdict),
            str(told.rung) if told.rung is not None else None,
            told.reason,
            str(told.blame) if told.blame else None,
            told.fault,
            told.signature,
            row["id"],
        ),
    )


def rebuild_answers(db: Database, cell_id: str) -> None:
    db.execute("DELETE FROM answers WHERE cell_id = ?", (cell_id,))
    for row in rows(db, "SELECT DISTINCT version FROM runs WHERE cell_id = ? AND origin = 'adhoc'", (cell_id,)):
        rebuild_answer(db, cell_id, row["version"])
