"""Keeps what every run answers, says which answers are right, and pins those that others are compared with."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import REFERENCE, Cell, CellVerdict, Origin, Outcome, Rung, Runtime
from monitor.judge.changes import FACT, TOLERANCE_NAT, distance, logprobs_of
from monitor.judge.confirm import RetryNeeded, RetryReason
from monitor.judge.parity import COMPARED, MATCHES, TRACE, compared_of, doubt, trace_of
from monitor.judge.reference import AnswerVerdict, TracedRelease, ruling
from monitor.judge.ruled import as_ruled
from monitor.store.cells import pinned
from monitor.store.traces import Files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.domain import CheckResult, RunVerdict
    from monitor.judge.changes import Logprobs
    from monitor.judge.days import DayFacts, DayRun
    from monitor.judge.observations import SubjectNotes
    from monitor.judge.parity import Compared
    from monitor.judge.reference import Ruling
    from monitor.store import Reader, RunRecord
    from monitor.store.cell_writing import CellsWriter
    from monitor.store.cells import Cells
    from monitor.store.traces import Answers

_SAME_NAT = 1e-4  # a tenth of what counts as a difference: an answer so close to one that is kept is that one
_ROUNDING = 1e-4  # of float32 through a few layers, per unit of the logits' spread
_SESSIONS = 2  # that agree before anything is compared with their trace


def keep_answer(cells: CellsWriter, run_id: str, notes: SubjectNotes, checks: Sequence[CheckResult]) -> bool:
    """Keep what a run answered; return whether its release had not given that answer before."""
    value = next((fact.value for fact in reversed(notes.facts) if fact.name == FACT), None)
    logprobs = logprobs_of(value)
    if logprobs is None or notes.spoiled or not isinstance(value, dict) or _computes_wrongly(checks):
        return False
    row = cells.run(run_id)
    cell = Cell.parse(row["cell_id"])
    files = Files(row["subject_digest"], str(cell.platform))
    near = {
        number: apart
        for number, other in _logprobs(cells.traces.answers(files, every=True)).items()
        if other.keys() == logprobs.keys() and (apart := distance(logprobs, other)) is not None and apart <= _SAME_NAT
    }
    answer = min(near, key=lambda number: (near[number], number)) if near else cells.traces.write_value(files, value)
    reader = cell.runtime.record.reader
    release = TracedRelease(
        cell.runtime,
        row["version"],
        date.fromisoformat(row["day"]),
        independent=_computes_by_itself(cell.runtime, value, notes),
        reader=cells.traces.package_of(row["environment"], reader) if reader else "",
    )
    return cells.traces.write(run_id, answer, release, _allowed(value, checks))


def _computes_wrongly(checks: Sequence[CheckResult]) -> bool:
    """Return whether a run fails below *speaks*: its answer is no side, for it is known to be wrong."""
    return any(check.rung < Rung.SPEAKS and check.outcome is Outcome.FAILED for check in checks)


def _computes_by_itself(runtime: Runtime, value: Mapping[str, Any], notes: SubjectNotes) -> bool:
    if runtime.record.family == REFERENCE.record.family:
        return False
    # what was recorded before probes said so is only known where it differed
    known = value.get("independent")
    return known is True or (known is None and any(fact.name == COMPARED for fact in notes.facts))


def _allowed(value: Mapping[str, Any], checks: Sequence[CheckResult]) -> float:
    limits = [(check.evidence or {}).get("allowed") for check in checks if check.name == MATCHES]
    spread = value.get("spread")
    known = [float(limit) for limit in limits if isinstance(limit, int | float)]
    return max([*known, _ROUNDING * spread if isinstance(spread, int | float) else 0.0])


def ruling_on(cells: Cells, files: Files) -> Ruling:
    """Return which of all answers over the files are right."""
    answers = cells.traces.answers(files)
    logprobs = _logprobs(answers)
    unfit = cells.traces.unfit_runtimes(files.subject_digest)
    releases = {
        number: [
            replace(release, independent=release.independent and release.runtime not in unfit)
            for release in answers.releases[number]
        ]
        for number in logprobs
    }
    return ruling(logprobs, releases, answers.allowed)


def _logprobs(answers: Answers) -> dict[int, Logprobs]:
    read = ((number, logprobs_of(value)) for number, value in answers.values.items())
    return {number: logprobs for number, logprobs in read if logprobs}


def ruled_runs(cells: Cells, cell_id: str, runs: Sequence[DayRun]) -> tuple[DayRun, ...]:
    """Return the runs of a cell with what all answers over their files say of theirs."""
    answers = cells.traces.of_runs(run.attempt.run_id for run in runs)
    if not answers:
        return tuple(runs)
    cell = Cell.parse(cell_id)
    rulings = {
        digest: ruling_on(cells, Files(digest, str(cell.platform)))
        for digest in {run.fingerprint.subject for run in runs if run.attempt.run_id in answers}
    }
    return tuple(
        _ruled(run, answers[run.attempt.run_id], rulings[run.fingerprint.subject], cell.runtime)
        if run.attempt.run_id in answers
        else run
        for run in runs
    )


def _ruled(run: DayRun, answer: int, decided: Ruling, runtime: Runtime) -> DayRun:
    checks = as_ruled(run.attempt.checks, decided.of(answer), decided.reason, runtime)
    return replace(run, attempt=replace(run.attempt, checks=checks))


def ruled_days(cells: Cells, cell_id: str, days: Sequence[DayFacts]) -> list[DayFacts]:
    ruled = {run.attempt.run_id: run for run in ruled_runs(cells, cell_id, [run for day in days for run in day.runs])}
    return [replace(day, runs=tuple(ruled[run.attempt.run_id] for run in day.runs)) for day in days]


def ruled_checks(
    cells: Cells, run: Mapping[str, Any], checks: Sequence[CheckResult]
) -> tuple[tuple[CheckResult, ...], str]:
    """Return the checks of one run, given as its row, with what all answers say of its answer, and the sentence."""
    answer = cells.traces.of_runs([run["id"]]).get(run["id"])
    if answer is None:
        return tuple(checks), ""
    cell = Cell.parse(run["cell_id"])
    decided = ruling_on(cells, Files(run["subject_digest"], str(cell.platform)))
    return as_ruled(checks, decided.of(answer), decided.reason, cell.runtime), decided.reason


def ruling_of(store: Reader, run_id: str) -> str:
    """Return in a sentence which answers over a run's files are right, "" where nothing is to be said."""
    return ruled_checks(store.cells, store.cells.run(run_id), ())[1] if run_id else ""


def golden_of(cells: Cells, subject_digest: str, *, with_trace: bool) -> dict[str, Any] | None:
    """Return what the reference answered, and which release it was: the latest that is neither wrong nor disputed."""
    row = _standing_golden(cells, subject_digest)
    return pinned(row, with_trace=with_trace) if row else None


def _standing_golden(cells: Cells, subject_digest: str) -> Mapping[str, Any] | None:
    rows = cells.goldens(subject_digest)
    answers = cells.traces.of_runs(row["run_id"] for row in rows)
    for row in rows:
        answer = answers.get(row["run_id"])
        platform = str(Cell.parse(cells.run(row["run_id"])["cell_id"]).platform) if answer is not None else ""
        standing = (
            ruling_on(cells, Files(subject_digest, platform)).of(answer) if platform else AnswerVerdict.UNCONTESTED
        )
        if standing not in (AnswerVerdict.WRONG, AnswerVerdict.DISPUTED):
            return row
    return None


def pin_golden(cells: CellsWriter, run: RunRecord) -> None:
    """Pin the reference's trace once the day settles as works and two sessions have recorded it.

    A release of the past is no reference for today, and one by hand is none either.
    """
    if run.cell.runtime is not REFERENCE or run.origin is not Origin.LIVE:
        return
    day = cells.day(run.cell.id, run.day)
    if day is None or day.verdict.verdict is not CellVerdict.WORKS or day.fingerprint != run.fingerprint:
        return
    if _standing_golden(cells, run.fingerprint.subject):
        return
    (facts,) = cells.day_facts(run.cell.id, since=run.day, until=run.day)
    same = [each for each in facts.runs if (each.origin, each.fingerprint) == (run.origin, run.fingerprint)]
    values = cells.facts_named(TRACE, [each.attempt.run_id for each in same])
    traces = [(each, trace) for each in same if (trace := trace_of(values.get(each.attempt.run_id)))]
    for each, trace in traces:
        if sum(_agrees(trace, other) for _, other in traces) >= _SESSIONS:
            cells.pin_golden(each.attempt.run_id, run, trace)
            return


def _agrees(trace: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    left, right = logprobs_of(trace), logprobs_of(other)
    apart = distance(left, right) if left and right else None
    return apart is not None and apart <= TOLERANCE_NAT


def second_session(cells: Cells, cell: Cell, runs: Sequence[DayRun], verdict: RunVerdict) -> RetryNeeded | None:
    """Return that another session is needed before the reference's trace is pinned, None where it is not."""
    if cell.runtime is not REFERENCE or verdict.verdict is not CellVerdict.WORKS:
        return None
    live = [run for run in runs if run.origin is Origin.LIVE]
    recorded = cells.runs_with_fact(TRACE, [run.attempt.run_id for run in live])
    if len(recorded) != 1 or _standing_golden(cells, live[0].fingerprint.subject):
        return None
    return RetryNeeded(RetryReason.REFERENCE, verdict, solo=False)


def doubt_about(cells: Cells, subject_digest: str) -> str:
    """Return which families agree with each other against the reference about these files, "" where no two do."""
    answers: dict[str, Compared] = {}
    allowed = 0.0
    for runtime, value, evidence in cells.differing_answers(subject_digest):
        answer = compared_of(value)
        if answer is not None:
            answers[Runtime(runtime).record.family] = answer  # the latest of each family
            limit = evidence.get("allowed")
            allowed = max(allowed, float(limit) if isinstance(limit, int | float) else 0.0)
    return doubt(answers, allowed)
