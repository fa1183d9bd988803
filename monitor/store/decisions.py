"""What is needed next before a cell is settled for a day, and where: asked by a cycle before every sitting."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import Origin, Purpose
from monitor.judge.days import DayFacts, Memory, control_key, decide_day
from monitor.judge.verdict import Circumstances
from monitor.store import history
from monitor.store.goldens import doubt_about
from monitor.store.rows import environment_at, environment_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from sqlite_utils import Database

    from monitor.domain import Cell, Platform, Runtime, Subject
    from monitor.judge.confirm import RetryNeeded, Settled
    from monitor.judge.days import Fingerprint
    from monitor.store.records import EnvironmentRecord


def decision(
    db: Database, cell: Cell, subject: Subject, day: date, origin: Origin, *, fingerprint: Fingerprint, version: str
) -> Settled | RetryNeeded:
    """Return whether the cell is settled for the day with this fingerprint, or which attempt is needed next."""
    if origin is Origin.ADHOC:
        facts, memory = DayFacts(day, tuple(history.adhoc_runs(db, cell.id, day))), Memory()
    else:
        found = history.day_facts(db, cell.id, since=day, until=day)
        facts = found[0] if found else DayFacts(day)
        memory = history.memory_before(db, cell.id, day)
    runs = [
        run
        for run in facts.runs
        if run.origin is origin and run.fingerprint == fingerprint and run.purpose in (Purpose.PROBE, Purpose.CONFIRM)
    ]
    control = history.control_on(db, cell.id, control_key(day, origin, fingerprint))
    doubt = doubt_about(db, fingerprint.subject)
    circumstances = Circumstances(subject, cell.runtime, version, control, doubt=doubt)
    return decide_day(facts, runs, fingerprint, circumstances, memory)[0]


def cells_to_reprobe(db: Database, cells: Iterable[Cell], day: date, *, suite: str) -> dict[str, EnvironmentRecord]:
    """Return, by cell id, the environment in which a new suite must first repeat the verdict that stands."""
    wanted = {}
    for cell in cells:
        confirmed = history.memory_before(db, cell.id, day).confirmed
        if confirmed is None or confirmed.fingerprint.suite == suite:
            continue
        done = rows(
            db,
            "SELECT 1 FROM runs WHERE cell_id = ? AND day = ? AND purpose = 'suite' AND suite = ?",
            (cell.id, day.isoformat(), suite),
        )
        environment = environment_at(db, confirmed.fingerprint.environment)
        if not done and environment is not None:
            wanted[cell.id] = environment
    return wanted


def last_good_environment(
    db: Database, runtime: Runtime, platform: Platform, *, until: date, other_than: str = ""
) -> EnvironmentRecord | None:
    """Return the environment in which a control of this runtime worked last, if there is one.

    Runs are asked and not days: a day holds only its last environment, and a release may break at noon what worked
    in the morning.
    """
    found = rows(
        db,
        "SELECT environments.*, runs.version AS told FROM runs JOIN cells ON cells.id = runs.cell_id"
        " JOIN subjects ON subjects.id = cells.subject_id"
        " JOIN environments ON environments.digest = runs.environment"
        " WHERE subjects.control AND cells.runtime = ? AND cells.platform = ?"
        " AND runs.day <= ? AND runs.environment != ?"
        " AND EXISTS (SELECT 1 FROM checks WHERE run_id = runs.id AND outcome = 'passed')"
        " AND NOT EXISTS (SELECT 1 FROM checks WHERE run_id = runs.id"
        " AND rung IN (SELECT value FROM json_each(?)) AND outcome NOT IN ('passed', 'skipped'))"
        " ORDER BY runs.day DESC, runs.started_at DESC, runs.rowid DESC LIMIT 1",
        (
            str(runtime),
            str(platform),
            until.isoformat(),
            other_than,
            json.dumps([str(rung) for rung in runtime.record.bar]),
        ),
    )
    # under the version that was told there: with another package pinned, it is no answer for the release itself
    return replace(environment_of(found[0]), version=found[0]["told"]) if found else None
