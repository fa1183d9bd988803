"""Asks the facts of one cell's days and of the control, and writes what the judge makes of them."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, CheckResult, Origin, Purpose, Runtime, Subject
from monitor.judge.changes import FACT, Before, Passed, Pinned, Said, changed, logprobs_of, noted, skipped
from monitor.judge.control import Control
from monitor.judge.days import (
    Carry,
    Day,
    DayFacts,
    DayRun,
    Memory,
    control_key,
    control_of,
    judge_days,
    remember,
)
from monitor.store.facts import VALUE
from monitor.store.goldens import doubts
from monitor.store.rows import check_of, day_of, day_run_of, rows, subject_of
from monitor.store.text_pool import keep_opinions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlite_utils import Database

    from monitor.domain import RungVerdict, RunVerdict
    from monitor.judge.changes import Logprobs
    from monitor.judge.days import ControlKey, Fingerprint, Flip
    from monitor.store.rows import Row

_EVER = date.min


def rebuild_cell(db: Database, cell_id: str, *, since: date = _EVER) -> None:
    """Judge the cell's days from ``since`` on again, from its facts; the caller holds the transaction."""
    facts = day_facts(db, cell_id, since=since)
    subject, runtime = subject_of_cell(db, cell_id)
    keys = {control_key(one.day, run.origin, run.fingerprint) for one in facts for run in one.runs}
    sources = {carry.source for one in facts for carry in one.carries if carry.source < since}
    days, flips = judge_days(
        facts,
        subject,
        runtime,
        {key: control_on(db, cell_id, key) for key in keys},
        memory=memory_before(db, cell_id, since),
        doubts=doubts(db, {run.fingerprint.subject for one in facts for run in one.runs}),
        earlier={source: day for source in sources if (day := stored_day(db, cell_id, source))},
    )
    said = Said(
        _answers(db, [day.run_id for day in days if day.verdict.verdict is CellVerdict.WORKS]),
        {run.attempt.run_id: run.attempt.checks for one in facts for run in one.runs},
    )
    subjects = {day.fingerprint.subject for day in days}
    before = {digest: _before(db, cell_id, digest, since) for digest in subjects}
    (cell,) = db.execute("SELECT number FROM cells WHERE id = ?", (cell_id,)).fetchone()
    db.execute("DELETE FROM judged_days WHERE cell = ? AND day >= ?", (cell, since.isoformat()))
    for day in noted(days, said, before):
        _write_day(db, cell, day)
    _replace_flips(db, cell_id, flips, since)


def day_facts(db: Database, cell_id: str, *, since: date = _EVER, until: date = date.max) -> list[DayFacts]:
    """Return what happened to the cell, a value a day; adhoc runs are no part of its history."""
    within = (cell_id, since.isoformat(), until.isoformat())
    runs: dict[date, list[DayRun]] = defaultdict(list)
    for row, run in runs_where(db, "cell_id = ? AND day BETWEEN ? AND ? AND origin != 'adhoc'", within):
        runs[date.fromisoformat(row["day"])].append(run)
    carries: dict[date, list[Carry]] = defaultdict(list)
    for row in rows(db, "SELECT * FROM carries WHERE cell_id = ? AND day BETWEEN ? AND ?", within):
        source = date.fromisoformat(row["source_day"])
        carries[date.fromisoformat(row["day"])].append(Carry(Origin(row["origin"]), source))
    return [DayFacts(day, tuple(runs[day]), tuple(carries[day])) for day in sorted({*runs, *carries})]


def adhoc_runs(db: Database, cell_id: str, day: date) -> list[DayRun]:
    return [
        run for _, run in runs_where(db, "cell_id = ? AND day = ? AND origin = 'adhoc'", (cell_id, day.isoformat()))
    ]


def control_on(db: Database, cell_id: str, key: ControlKey) -> Control:
    """Return how the control of the cell's runtime, channel and platform stood where ``key`` says."""
    day, origin, environment, suite = key
    found = [Control.ABSENT]
    for row in rows(
        db,
        "SELECT control.id AS cell_id, control.runtime, subjects.* FROM cells"
        " JOIN cells AS control USING (runtime, channel, platform)"
        " JOIN subjects ON subjects.id = control.subject_id WHERE cells.id = ? AND subjects.control",
        (cell_id,),
    ):
        runs = [
            run
            for _, run in runs_where(
                db,
                "cell_id = ? AND day = ? AND origin = ? AND suite = ?",
                (row["cell_id"], day.isoformat(), str(origin), suite),
            )
        ]
        here = [
            run for run in runs if run.fingerprint.environment == environment and run.purpose is not Purpose.CONTROL
        ]
        elsewhere = [
            run for run in runs if run.fingerprint.environment != environment and run.purpose is Purpose.CONTROL
        ]
        found.append(control_of(here, elsewhere, subject_of(row), Runtime(row["runtime"])))
    return min(found, key=list(Control).index)


def memory_before(db: Database, cell_id: str, day: date) -> Memory:
    """Return what the stored days before ``day`` leave for it."""
    confirmed = rows(
        db,
        "SELECT max(day) AS day FROM days WHERE cell_id = ? AND day < ? AND verdict != 'unknown'",
        (cell_id, day.isoformat()),
    )[0]["day"]
    memory = Memory()
    for row in rows(
        db,
        "SELECT day FROM days WHERE cell_id = ? AND day >= ? AND day < ? ORDER BY day",
        (cell_id, confirmed or "", day.isoformat()),
    ):
        stored = stored_day(db, cell_id, date.fromisoformat(row["day"]))
        memory = remember(memory, stored) if stored else memory
    return memory


def stored_day(db: Database, cell_id: str, day: date) -> Day | None:
    key = (cell_id, day.isoformat())
    found = rows(db, "SELECT * FROM days WHERE cell_id = ? AND day = ?", key)
    if not found:
        return None
    of = (cell_id, found[0]["carried_from"] or day.isoformat())
    return day_of(found[0], rows(db, "SELECT * FROM day_rungs WHERE cell_id = ? AND day = ? ORDER BY step", of))


def stored_days(db: Database, cell_id: str) -> list[Day]:
    """Return every day of the cell, oldest first."""
    rungs: dict[str, list[Row]] = defaultdict(list)
    for row in rows(db, "SELECT * FROM day_rungs WHERE cell_id = ? ORDER BY day, step", (cell_id,)):
        rungs[row["day"]].append(row)
    days = rows(db, "SELECT * FROM days WHERE cell_id = ? ORDER BY day", (cell_id,))
    return [day_of(row, rungs[row["carried_from"] or row["day"]]) for row in days]


def pinned_before(db: Database, cell_id: str, subject_digest: str, day: date) -> Pinned | None:
    """Return what these files answered on the cell's first day that worked, if it came before ``day``."""
    found = rows(
        db,
        f"SELECT days.day, days.version, days.suite, {VALUE} AS value FROM days"  # noqa: S608 - the constant
        " JOIN facts ON facts.run_id = days.run_id JOIN runs ON runs.id = days.run_id"
        " JOIN cells ON cells.id = days.cell_id"
        " WHERE days.cell_id = ? AND days.day < ? AND days.subject_digest = ? AND days.verdict = 'works'"
        " AND carried_from IS NULL AND facts.name = ? ORDER BY days.day LIMIT 1",
        (cell_id, day.isoformat(), subject_digest, FACT),
    )
    said = logprobs_of(json.loads(found[0]["value"])) if found and found[0]["value"] else None
    return Pinned(date.fromisoformat(found[0]["day"]), found[0]["version"], found[0]["suite"], said) if said else None


def passed_before(db: Database, cell_id: str, subject_digest: str, day: date) -> dict[str, Passed]:
    """Return, by check, where these files of the cell passed it last before ``day``."""
    found = rows(
        db,
        # beside max() stand the columns of the row that has it
        "SELECT checks.name, max(days.day) AS day, days.version, days.suite FROM days"
        " JOIN checks ON checks.run_id = days.run_id WHERE days.cell_id = ? AND days.day < ? AND subject_digest = ?"
        " AND days.verdict != 'unknown' AND carried_from IS NULL AND outcome = 'passed' GROUP BY checks.name",
        (cell_id, day.isoformat(), subject_digest),
    )
    return {row["name"]: Passed(date.fromisoformat(row["day"]), row["version"], row["suite"]) for row in found}


def note_on_run(db: Database, run: Row) -> str:
    """Return what there is to say of a run's values beside those pinned for its cell, and of what it was not asked."""
    cell_id, digest, suite = run["cell_id"], run["subject_digest"], run["suite"]
    pin = pinned_before(db, cell_id, digest, date.max)
    passed = passed_before(db, cell_id, digest, date.fromisoformat(run["day"]) + timedelta(days=1))
    checks = checks_of(db, [run["id"]]).get(run["id"], ())
    told = (changed(pin, _answers(db, [run["id"]]).get(run["id"]), suite), skipped(passed, checks, suite))
    return "; ".join(filter(None, told))


def _before(db: Database, cell_id: str, subject_digest: str, day: date) -> Before:
    pinned = pinned_before(db, cell_id, subject_digest, day)
    return Before(pinned, passed_before(db, cell_id, subject_digest, day))


def _answers(db: Database, run_ids: Sequence[str]) -> dict[str, Logprobs]:
    found = rows(
        db,
        f"SELECT facts.run_id, {VALUE} AS value FROM facts JOIN runs ON runs.id = facts.run_id"  # noqa: S608 - the constant
        " JOIN cells ON cells.id = runs.cell_id"
        " WHERE facts.run_id IN (SELECT value FROM json_each(?)) AND facts.name = ?",
        (json.dumps(run_ids), FACT),
    )
    read = ((row["run_id"], logprobs_of(json.loads(row["value"]))) for row in found if row["value"])
    return {run: said for run, said in read if said is not None}


def carriable_from(db: Database, cell_id: str, day: date, origin: Origin, fingerprint: Fingerprint) -> date | None:
    """Return the day whose verdict still stands by this fingerprint, unless something was run on ``day`` already.

    An older day with an equal fingerprint will not do: going back to it is a change, and changes are measured.
    """
    confirmed = memory_before(db, cell_id, day).confirmed
    if confirmed is None or confirmed.fingerprint != fingerprint:
        return None
    run_already = rows(
        db,
        "SELECT 1 FROM runs WHERE cell_id = ? AND day = ? AND origin = ? AND purpose IN ('probe', 'confirm') LIMIT 1",
        (cell_id, day.isoformat(), str(origin)),
    )
    return None if run_already else confirmed.day


def subject_of_cell(db: Database, cell_id: str) -> tuple[Subject, Runtime]:
    """Return what the cell probes, and in which runtime."""
    found = rows(
        db,
        "SELECT subjects.*, cells.runtime FROM subjects"
        " JOIN cells ON cells.subject_id = subjects.id WHERE cells.id = ?",
        (cell_id,),
    )
    return subject_of(found[0]), Runtime(found[0]["runtime"])


def checks_of(db: Database, run_ids: Sequence[str]) -> Mapping[str, list[CheckResult]]:
    checks: dict[str, list[CheckResult]] = defaultdict(list)
    wanted = "SELECT * FROM checks WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, position"
    for row in rows(db, wanted, [json.dumps(run_ids)]):
        checks[row["run_id"]].append(check_of(row))
    return checks


def runs_where(db: Database, where: str, parameters: Iterable[str]) -> list[tuple[Row, DayRun]]:
    """Return runs, oldest first; rowid tells which of two with one time stamp was recorded first."""
    sql = f"SELECT * FROM runs WHERE {where} ORDER BY started_at, rowid"  # noqa: S608 - `where` is this module's own
    found = rows(db, sql, parameters)
    checks = checks_of(db, [row["id"] for row in found])
    return [(row, day_run_of(row, checks.get(row["id"], []))) for row in found]


def _write_day(db: Database, cell: int, day: Day) -> None:
    rungs = () if day.carried_from else day.verdict.rungs  # a carried day's are those of the day it is carried from
    own, *each = keep_opinions(db, [_opinion(day.verdict), *map(_opinion, rungs)])
    db.execute(
        "INSERT INTO judged_days SELECT ?, ?, ?, opinions.number, runs.number, ?, ?, ? FROM opinions, runs"
        " WHERE opinions.digest = ? AND runs.id = ?",
        (
            cell,
            day.day.isoformat(),
            str(day.origin),
            day.carried_from.isoformat() if day.carried_from else None,
            str(day.leaning) if day.leaning else None,
            day.note,
            own,
            day.run_id,
        ),
    )
    db.conn.executemany(
        "INSERT INTO judged_rungs SELECT ?, ?, ?, number FROM opinions WHERE digest = ?",
        [(cell, day.day.isoformat(), int(one.rung), opinion) for one, opinion in zip(rungs, each, strict=True)],
    )


def _opinion(one: RunVerdict | RungVerdict) -> tuple[str | None, ...]:
    return (
        str(one.verdict),
        str(one.rung) if one.rung is not None else None,
        one.reason,
        str(one.blame) if one.blame else None,
        one.fault,
        one.signature,
    )


def _replace_flips(db: Database, cell_id: str, flips: Iterable[Flip], since: date) -> None:
    """Write the flips confirmed from ``since`` on. An announced one is kept, and marked when it is no more."""
    within = (cell_id, since.isoformat())
    db.execute("DELETE FROM flips WHERE cell_id = ? AND confirmed >= ? AND announced_at IS NULL", within)
    db.execute("UPDATE flips SET withdrawn = 1 WHERE cell_id = ? AND confirmed >= ?", within)
    db.conn.executemany(
        "INSERT INTO flips (cell_id, day, before, after, confirmed) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (cell_id, day, after) DO UPDATE SET withdrawn = 0, before = excluded.before,"
        " confirmed = excluded.confirmed",
        [
            (cell_id, flip.day.isoformat(), str(flip.before), str(flip.after), flip.confirmed.isoformat())
            for flip in flips
        ],
    )
