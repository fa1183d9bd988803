"""Makes every judgement again from the stored facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.judge.runs import checks_of_session, checks_without_environment, of_its_day, of_its_files
from monitor.verdicts.days import rebuild_answers, rebuild_days
from monitor.verdicts.reference import keep_answer
from probes.catalogue import INSTALLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import CheckResult
    from monitor.judge.observations import Session
    from monitor.store import Store
    from monitor.store.records import RecordedRun


@dataclass(frozen=True, slots=True)
class Rejudged:
    runs: int
    changed_runs: int
    changed_days: int
    without_events: int  # runs whose raw events are no longer kept; their checks and notes stay as they are


def rejudge(store: Store) -> Rejudged:
    """Make every check, day and flip again from the facts; what was announced stays announced."""
    cells = store.cells
    with store.atomic():
        before = cells.verdicts()
        changed, missing = 0, []
        runs = cells.recorded_runs()
        answered = cells.traces.of_runs(run.id for run in runs)
        for run in runs:
            raw = store.events.read(run.events_digest) if run.events_digest else b""
            if raw is None and run.session_id:
                missing.append(run.id)
                continue
            session = _session(run, raw)
            stored = cells.checks_of(run.id)
            judged = checks_of(run, session, asked=[check.name for check in stored if check.name not in INSTALLS])
            if judged != stored:
                cells.replace_checks(run.id, judged)
                changed += 1
            if session and run.id not in answered:
                keep_answer(cells, run.id, session.subjects[run.subject_id], judged)
        notes = cells.notes_on(missing)  # they compare answers that are in the events
        for cell_id in cells.ids():
            rebuild_days(cells, cell_id)
            rebuild_answers(cells, cell_id)
        cells.replace_notes(notes)
        cells.forget_unreferenced_texts()
        return Rejudged(len(runs), changed, len(before ^ cells.verdicts()), len(missing))


def checks_of(run: RecordedRun, session: Session | None, *, asked: Sequence[str] = ()) -> tuple[CheckResult, ...]:
    """Return the checks of a stored run; ``session`` is None where its installation failed.

    ``asked`` has the checks that it was asked: others would seem to have been forgotten by the process.
    """
    if session is None:
        if run.failed is None:
            return ()
        return checks_without_environment(run.runtime, run.failed, run.fault, run.message)
    checks = checks_of_session(
        session,
        run.subject_id,
        run.ending,
        runtime=run.runtime,
        solo=run.solo,
        limit_factor=run.limit_factor,
        asked=asked,
    )
    return of_its_day(of_its_files(checks, run.form), run.later)


def _session(run: RecordedRun, raw: bytes | None) -> Session | None:
    if raw is None or not run.session_id:
        return None
    from monitor.wire.stream import read_events  # with its parser, which commands that only read do without

    return read_events(raw, [run.subject_id], run.problem)
