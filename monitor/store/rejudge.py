"""Makes every judgement again from the stored facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.domain import Runtime, SubjectForm
from monitor.judge.era import of_its_day
from monitor.judge.ownership import of_its_files
from monitor.judge.runs import checks_of_session, checks_without_environment
from monitor.store.answers import rebuild_answers
from monitor.store.history import checks_of, rebuild_cell
from monitor.store.recording import replace_checks
from monitor.store.rows import ending_of, rows, stage_of
from monitor.store.text_pool import forget_unsaid
from monitor.wire.stream import read_events

if TYPE_CHECKING:
    from sqlite_utils import Database

    from monitor.domain import CheckResult
    from monitor.store.archive import Archive
    from monitor.store.rows import Row

JUDGED = """
SELECT runs.*, cells.subject_id, cells.runtime, subjects.form,
    resolutions.failed, resolutions.fault, resolutions.message,
    (SELECT group_concat(package) FROM departures WHERE departures.resolution_id = runs.resolution_id) AS later
FROM runs JOIN cells ON cells.id = runs.cell_id JOIN subjects ON subjects.id = cells.subject_id
JOIN resolutions ON resolutions.id = runs.resolution_id
"""


@dataclass(frozen=True, slots=True)
class Rejudged:
    runs: int
    changed_runs: int
    changed_days: int
    without_events: int  # runs whose raw events have been collected; their checks stay as they are


def rejudge(db: Database, events: Archive) -> Rejudged:
    """Judge every run and every day again; the caller holds the transaction."""
    before = _days(db)
    changed = missing = 0
    runs = rows(db, JUDGED)
    for row in runs:
        judged = judge_stored(row, events)
        if judged is None:
            missing += 1
        elif list(judged) != checks_of(db, [row["id"]]).get(row["id"], []):
            replace_checks(db, row["id"], judged)
            changed += 1
    for row in rows(db, "SELECT id FROM cells"):
        rebuild_cell(db, row["id"])
        rebuild_answers(db, row["id"])
    forget_unsaid(db)
    return Rejudged(len(runs), changed, len(before ^ _days(db)), missing)


def judge_stored(row: Row, events: Archive) -> tuple[CheckResult, ...] | None:
    """Return the checks of a stored run, or None when its events are no longer kept."""
    runtime = Runtime(row["runtime"])
    if row["session_id"] is None:
        failed = stage_of(row["failed"])
        if failed is None:
            return None
        return checks_without_environment(runtime, failed, row["fault"], row["message"])
    raw = events.read(row["events_digest"]) if row["events_digest"] else b""
    if raw is None:
        return None
    session = read_events(raw, [row["subject_id"]], row["events_problem"])
    checks = checks_of_session(
        session,
        row["subject_id"],
        ending_of(row["ending"]),
        runtime=runtime,
        solo=bool(row["solo"]),
        limit_factor=row["limit_factor"],
    )
    return of_its_day(of_its_files(checks, SubjectForm(row["form"])), (row["later"] or "").split(","))


def _days(db: Database) -> set[tuple[str, ...]]:
    found = db.execute("SELECT cell_id, day, verdict, coalesce(rung, ''), reason, signature, note FROM days")
    return {tuple(row) for row in found.fetchall()}
