"""Judges the days of one cell from its runs, and says what is still needed before a day is settled."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, InstalledAsOf, Origin, Purpose
from monitor.judge.changes import FACT, Before, Pinned, RunAnswers, changed, logprobs_of, noted, skipped
from monitor.judge.confirm import Settled, unsettled
from monitor.judge.control import Control
from monitor.judge.days import DayFacts, Memory, control_key, control_of, decide_day, judge_days, remember
from monitor.judge.verdict import Circumstances, of_newer_packages
from monitor.store.cells import FIRST_DAY
from monitor.verdicts.reference import doubt_about, ruled_days, ruled_runs, second_session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.domain import Cell
    from monitor.judge.changes import Logprobs
    from monitor.judge.confirm import RetryNeeded
    from monitor.judge.days import ControlKey, Fingerprint
    from monitor.store import EnvironmentRecord, Reader, Store
    from monitor.store.cell_writing import CellsWriter
    from monitor.store.cells import Cells


def decision(
    store: Reader, cell: Cell, day: date, origin: Origin, *, fingerprint: Fingerprint, version: str
) -> Settled | RetryNeeded:
    """Return whether the cell is settled for the day with this fingerprint, or which attempt is needed next."""
    cells = store.cells
    if origin is Origin.ADHOC:
        facts, memory = DayFacts(day, tuple(cells.adhoc_runs(cell.id, day))), Memory()
    else:
        (facts,) = cells.day_facts(cell.id, since=day, until=day) or (DayFacts(day),)
        memory = memory_before(cells, cell.id, day)
    runs = [
        run
        for run in facts.runs
        if run.origin is origin and run.fingerprint == fingerprint and run.purpose in (Purpose.PROBE, Purpose.CONFIRM)
    ]
    circumstances = Circumstances(
        store.subject(cell.subject_id),
        cell.runtime,
        version,
        control_at(cells, cell.id, control_key(day, origin, fingerprint)),
        doubt=doubt_about(cells, fingerprint.subject),
        by_hand=origin is Origin.ADHOC,
    )
    decided = decide_day(facts, ruled_runs(cells, cell.id, runs), fingerprint, circumstances, memory)[0]
    if isinstance(decided, Settled):
        return second_session(cells, cell, runs, decided.verdict) or decided
    return decided


def cells_to_reprobe(store: Reader, cells: Iterable[Cell], day: date, *, suite: str) -> dict[str, EnvironmentRecord]:
    """Return, by cell id, the environment in which a new suite must first repeat the verdict that stands."""
    wanted = {}
    for cell in cells:
        confirmed = memory_before(store.cells, cell.id, day).confirmed
        if confirmed is None or confirmed.fingerprint.suite == suite or store.cells.was_reprobed(cell.id, day, suite):
            continue
        environment = store.environment(confirmed.fingerprint.environment)
        if environment is not None:
            wanted[cell.id] = environment
    return wanted


def control_in(store: Reader, cell: Cell, day: date, origin: Origin, *, environment: str, suite: str) -> Control:
    """Return the result of the cell's control; ``PENDING`` asks for a rerun in the last good environment."""
    return control_at(store.cells, cell.id, (day, origin, environment, suite))


def control_at(cells: Cells, cell_id: str, key: ControlKey) -> Control:
    day, origin, environment, suite = key
    controls = [Control.ABSENT]
    for subject, runtime, runs in cells.control_runs(cell_id, day, origin, suite):
        here, elsewhere = [], []
        for run in runs:
            same = run.fingerprint.environment == environment
            if same and run.purpose is not Purpose.CONTROL:
                here.append(run)
            elif not same and run.purpose is Purpose.CONTROL:
                elsewhere.append(run)
        controls.append(control_of(here, elsewhere, subject, runtime))
    return min(controls, key=list(Control).index)


def memory_before(cells: Cells, cell_id: str, day: date) -> Memory:
    """Return what the stored days before ``day`` leave for it."""
    return reduce(remember, cells.days_since_known(cell_id, day), Memory())


def carriable_from(cells: Cells, cell_id: str, day: date, origin: Origin, fingerprint: Fingerprint) -> date | None:
    """Return the day whose verdict still stands by this fingerprint, unless something was run on ``day`` already.

    An older day with an equal fingerprint will not do: going back to it is a change, and changes are measured.
    """
    confirmed = memory_before(cells, cell_id, day).confirmed
    if confirmed is None or confirmed.fingerprint != fingerprint or cells.was_probed(cell_id, day, origin):
        return None
    return confirmed.day


def rebuild_days(cells: CellsWriter, cell_id: str, *, since: date = FIRST_DAY) -> None:
    """Judge the cell's days from ``since`` on again, from its facts; the caller holds the transaction."""
    facts = ruled_days(cells, cell_id, cells.day_facts(cell_id, since=since))
    runs = [run for day in facts for run in day.runs]
    subject, runtime = cells.subject_and_runtime(cell_id)
    keys = {control_key(day.day, run.origin, run.fingerprint) for day in facts for run in day.runs}
    sources = {carry.source for day in facts for carry in day.carries if carry.source < since}
    days, flips = judge_days(
        facts,
        subject,
        runtime,
        {key: control_at(cells, cell_id, key) for key in keys},
        memory=memory_before(cells, cell_id, since),
        doubts={digest: doubt_about(cells, digest) for digest in {run.fingerprint.subject for run in runs}},
        earlier={source: day for source in sources if (day := cells.day(cell_id, source))},
    )
    evidence = RunAnswers(
        _logprobs(cells, [day.run_id for day in days if day.verdict.verdict is CellVerdict.WORKS]),
        {run.attempt.run_id: run.attempt.checks for run in runs},
    )
    before = {
        digest: Before(pinned_before(cells, cell_id, digest, since), cells.last_passes(cell_id, digest, since))
        for digest in {day.fingerprint.subject for day in days}
    }
    cells.replace_days(cell_id, noted(days, evidence, before), since)
    cells.replace_flips(cell_id, flips, since)


def rebuild_files(cells: CellsWriter, subject_digest: str) -> None:
    """Judge again every cell that has answered over these files: what is right about them has changed."""
    for cell_id in cells.traces.cells_with(subject_digest):
        rebuild_days(cells, cell_id)
        rebuild_answers(cells, cell_id)


def judge_again(store: Store, cells: Iterable[Cell], day: date, origin: Origin, version: str) -> None:
    """Judge the day of these cells again, or by hand their version: something else has shown what their files are."""
    with store.atomic():
        for cell in cells:
            if origin is Origin.ADHOC:
                rebuild_answer(store.cells, cell.id, version, InstalledAsOf.RELEASE_DAY)  # and as of other days
            else:
                rebuild_days(store.cells, cell.id, since=day)


def rebuild_answers(cells: CellsWriter, cell_id: str) -> None:
    cells.delete_answers(cell_id)
    for version, installed in cells.adhoc_versions(cell_id):
        _rebuild_answer(cells, cell_id, version, installed)


def rebuild_answer(cells: CellsWriter, cell_id: str, version: str, installed: InstalledAsOf) -> None:
    """Judge what was asked by hand of one version again, and what hangs on it."""
    _rebuild_answer(cells, cell_id, version, installed)
    if installed is InstalledAsOf.RELEASE_DAY:  # it says whether newer packages are to blame
        _rebuild_answer(cells, cell_id, version, InstalledAsOf.RUN_DAY)


def _rebuild_answer(cells: CellsWriter, cell_id: str, version: str, installed: InstalledAsOf) -> None:
    """Judge by the latest environment, files and suite."""
    every = cells.adhoc_runs_of_version(cell_id, version, installed)
    if not every:
        return
    day, last = every[-1]
    latest = [run for of_day, run in every if of_day == day and run.fingerprint == last.fingerprint]
    runs = ruled_runs(cells, cell_id, latest)
    subject, runtime = cells.subject_and_runtime(cell_id)
    control = control_at(cells, cell_id, control_key(day, Origin.ADHOC, last.fingerprint))
    doubt = doubt_about(cells, last.fingerprint.subject)
    circumstances = Circumstances(subject, runtime, version, control, doubt=doubt)
    judged, _, _ = decide_day(DayFacts(day, tuple(runs)), runs, last.fingerprint, circumstances, Memory())
    verdict = judged.verdict if isinstance(judged, Settled) else unsettled(judged.leaning, "not confirmed yet")
    if installed is InstalledAsOf.RUN_DAY and cells.works_on_its_release_day(cell_id, version, last.fingerprint):
        verdict = of_newer_packages(verdict)
    cells.replace_answer(cell_id, version, installed, day, verdict=verdict, run=last.attempt.run_id)


def note_on_run(cells: Cells, run_id: str, cell_id: str, day: date, fingerprint: Fingerprint) -> str:
    """Return what differs in a run's values from those pinned for its cell, and which checks it skipped."""
    pinned = pinned_before(cells, cell_id, fingerprint.subject, date.max)
    passed = cells.last_passes(cell_id, fingerprint.subject, day + timedelta(days=1))
    notes = (
        changed(pinned, _logprobs(cells, [run_id]).get(run_id), fingerprint.suite),
        skipped(passed, cells.checks_of(run_id), fingerprint.suite),
    )
    return "; ".join(filter(None, notes))


def pinned_before(cells: Cells, cell_id: str, subject_digest: str, day: date) -> Pinned | None:
    """Return what these files answered on the cell's first day that worked, if it came before ``day``."""
    row = cells.first_fact(FACT, cell_id, subject_digest, day)
    logprobs = logprobs_of(row["value"]) if row else None
    if row is None or logprobs is None:
        return None
    return Pinned(date.fromisoformat(row["day"]), row["version"], row["suite"], logprobs)


def _logprobs(cells: Cells, run_ids: list[str]) -> dict[str, Logprobs]:
    read = ((run, logprobs_of(value)) for run, value in cells.facts_named(FACT, run_ids).items())
    return {run: logprobs for run, logprobs in read if logprobs is not None}
