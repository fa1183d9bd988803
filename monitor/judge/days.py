"""From a cell's runs and carried days to its daily history and its flips; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from monitor.domain import Blame, CellVerdict, Origin, Outcome, Purpose, RunVerdict, Subject, Verdict
from monitor.judge.confirm import KNOWN, Attempt, Confirmed, RetryNeeded, Settled, decide, unsettled
from monitor.judge.control import Control, control_says
from monitor.judge.verdict import Circumstances, at_the_bar, judge_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from monitor.domain import Rung, Runtime

    ControlKey: TypeAlias = tuple[date, Origin, str, str]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What must be equal for two outcomes to be comparable without a change having been made."""

    environment: str  # digest of the lock, or the resolution that failed
    suite: str
    subject: str  # digest of the subject's files


@dataclass(frozen=True, slots=True)
class DayRun:
    origin: Origin
    purpose: Purpose
    fingerprint: Fingerprint
    version: str
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Carry:
    """Nothing had changed since ``source``, so nothing was run; the day's own resolution proved it."""

    origin: Origin
    source: date


@dataclass(frozen=True, slots=True)
class DayFacts:
    """Everything that happened to one cell on one UTC day; runs oldest first."""

    day: date
    runs: tuple[DayRun, ...] = ()
    carries: tuple[Carry, ...] = ()


@dataclass(frozen=True, slots=True)
class Day:
    """What a day says of a cell. ``leaning`` is what an unsettled day would say if it were confirmed."""

    day: date
    origin: Origin
    verdict: RunVerdict
    fingerprint: Fingerprint
    version: str
    run_id: str
    carried_from: date | None = None
    leaning: CellVerdict | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Flip:
    """A confirmed change of verdict, dated by its first observation."""

    day: date
    before: CellVerdict
    after: CellVerdict
    confirmed: date


@dataclass(frozen=True, slots=True)
class Memory:
    """What the past days leave for the next: the day whose verdict stands, and a change seen but not confirmed."""

    confirmed: Day | None = None
    pending: Day | None = None


def judge_days(
    history: Sequence[DayFacts],
    subject: Subject,
    runtime: Runtime,
    controls: Mapping[ControlKey, Control],
    *,
    memory: Memory | None = None,
    earlier: Mapping[date, Day] | None = None,
    doubts: Mapping[str, str] | None = None,
) -> tuple[tuple[Day, ...], tuple[Flip, ...]]:
    """Return the days and flips of one cell, in order of day.

    ``controls`` is keyed by ``control_key``. ``memory`` and ``earlier`` are the past when only days from a later one
    on are judged again. ``doubts`` says, by the digest of the subject's files, why the reference is in doubt.
    """
    memory = memory or Memory()
    known = dict(earlier or {})
    flips: list[Flip] = []
    days: list[Day] = []
    for facts in sorted(history, key=lambda day: day.day):
        judged = _judge_day(facts, Circumstances(subject, runtime, ""), (controls, doubts or {}), memory, known)
        if judged is None:
            continue
        day, flip = judged
        known[day.day] = day
        days.append(day)
        flips.extend([flip] if flip else [])
        memory = remember(memory, day)
    return tuple(days), tuple(flips)


def control_key(day: date, origin: Origin, fingerprint: Fingerprint) -> ControlKey:
    """Return where a control must have run to speak for a run with this fingerprint."""
    return day, origin, fingerprint.environment, fingerprint.suite


def control_of(here: Sequence[DayRun], elsewhere: Sequence[DayRun], subject: Subject, runtime: Runtime) -> Control:
    """Return the control's result by its runs in one environment and its reruns in the last good one."""

    def verdicts(runs: Sequence[DayRun]) -> list[CellVerdict]:
        return [_believed(run, subject, runtime).verdict for run in runs]

    return control_says(verdicts(here), verdicts(elsewhere))


def _believed(run: DayRun, subject: Subject, runtime: Runtime) -> RunVerdict:
    """Judge a run whose subject is known to work, so that even an unclassified failure counts."""
    signatures = frozenset(check.signature for check in run.attempt.checks)
    able = replace(subject, qualified=True)
    return judge_run(run.attempt.checks, Circumstances(able, runtime, run.version, Control.GREEN, signatures))


def remember(memory: Memory, day: Day) -> Memory:
    """Return the memory after ``day``; unknown days are missing data and change nothing but what they lean to."""
    if day.verdict.verdict in KNOWN:
        return Memory(confirmed=day)
    if day.leaning is None or memory.confirmed is None or day.leaning is memory.confirmed.verdict.verdict:
        return memory
    if memory.pending is not None and memory.pending.leaning is day.leaning:
        return memory
    return replace(memory, pending=day)


def speaking(facts: DayFacts) -> tuple[DayRun, ...]:
    """Return the runs that speak for the day: live before replay, never adhoc, and only the latest fingerprint.

    A run that our infrastructure spoiled speaks only where no other does: an outage in the evening does not undo the
    morning.
    """
    runs = [run for run in facts.runs if run.purpose in (Purpose.PROBE, Purpose.CONFIRM)]
    whole = [run for run in runs if not _spoiled(run)]
    origins = {run.origin for run in whole} | {carry.origin for carry in facts.carries}
    origin = _first(origins or {run.origin for run in runs})
    chosen = [run for run in whole if run.origin is origin]
    if not chosen and not origins:
        chosen = [run for run in runs if run.origin is origin]
    return tuple(run for run in runs if chosen and (run.origin, run.fingerprint) == (origin, chosen[-1].fingerprint))


def _spoiled(run: DayRun) -> bool:
    """Return whether a run shows nothing but a fault of ours."""
    checks = run.attempt.checks
    ours = any(check.outcome is Outcome.UNKNOWN and check.blame is Blame.INFRA for check in checks)
    return ours and all(check.outcome is not Outcome.FAILED for check in checks)


def _first(origins: Iterable[Origin]) -> Origin:
    return Origin.LIVE if Origin.LIVE in origins else Origin.REPLAY


def decide_day(
    facts: DayFacts, runs: Sequence[DayRun], fingerprint: Fingerprint, circumstances: Circumstances, memory: Memory
) -> tuple[Settled | RetryNeeded, Confirmed | None, str]:
    """Return whether ``runs`` settle the day, the verdict they were compared with, and a note where suites differ."""
    last, note = _last_confirmed(memory, facts, fingerprint.suite, circumstances)
    decision = decide(last, [run.attempt for run in runs], circumstances)
    before = memory.confirmed
    if isinstance(decision, Settled) and before is not None and before.fingerprint == fingerprint:
        decision = _compared_with(before, decision, circumstances.runtime.record.bar)
    return decision, last, note


def _compared_with(before: Day, settled: Settled, bar: Sequence[Rung]) -> Settled:
    """Return ``settled`` as flaky where ``before`` said something else of exactly this lock, suite and subject."""
    now, then = settled.verdict, before.verdict
    if now.verdict not in (CellVerdict.WORKS, CellVerdict.BROKEN) or now.verdict is then.verdict:
        return settled
    why = f"{then.verdict} on {before.day}, {now.verdict} now, with nothing changed"
    failing = then if now.verdict is CellVerdict.WORKS else now
    flaky = {
        rung.rung: replace(rung, verdict=Verdict.FLAKY, reason=f"{why}: {rung.reason}")
        for rung in failing.rungs
        if rung.verdict is Verdict.FAILED
    } | {rung.rung: rung for rung in failing.rungs if rung.verdict is Verdict.FLAKY}
    verdict = at_the_bar(tuple(flaky.get(rung.rung, rung) for rung in now.rungs), bar)
    return replace(settled, verdict=verdict, changed=then.verdict is not CellVerdict.FLAKY)


def _judge_day(
    facts: DayFacts,
    circumstances: Circumstances,
    controls_and_doubts: tuple[Mapping[ControlKey, Control], Mapping[str, str]],
    memory: Memory,
    known: Mapping[date, Day],
) -> tuple[Day, Flip | None] | None:
    runs = speaking(facts)
    if not runs:
        day = _carried_day(facts, known)
        return (day, None) if day else None
    first = runs[0]
    controls, doubts = controls_and_doubts
    circumstances = replace(
        circumstances,
        version=first.version,
        control=controls.get(control_key(facts.day, first.origin, first.fingerprint), Control.ABSENT),
        doubt=doubts.get(first.fingerprint.subject, ""),
    )
    decision, last, note = decide_day(facts, runs, first.fingerprint, circumstances, memory)
    day = _day(facts.day, runs, decision, note)
    return day, _flip(day, decision, last, memory)


def _day(when: date, runs: Sequence[DayRun], decision: Settled | RetryNeeded, suite_note: str) -> Day:
    latest = runs[-1]
    leaning = None
    if isinstance(decision, Settled):
        verdict, note = decision.verdict, decision.note
    else:
        seen = decision.leaning
        leaning = seen.verdict if seen.verdict in KNOWN else None
        verdict = unsettled(seen, "not confirmed yet") if leaning else seen
        note = str(decision.why)
    return Day(
        day=when,
        origin=latest.origin,
        verdict=verdict,
        fingerprint=latest.fingerprint,
        version=latest.version,
        run_id=latest.attempt.run_id,
        leaning=leaning,
        note="; ".join(filter(None, (suite_note, note))),
    )


def _flip(day: Day, decision: Settled | RetryNeeded, last: Confirmed | None, memory: Memory) -> Flip | None:
    if last is None or isinstance(decision, RetryNeeded) or not decision.changed or day.verdict.verdict not in KNOWN:
        return None
    after = day.verdict.verdict
    pending = memory.pending
    first_seen = pending.day if pending and pending.leaning is after else day.day
    return Flip(first_seen, last.verdict, after, day.day)


def _last_confirmed(
    memory: Memory, facts: DayFacts, suite: str, circumstances: Circumstances
) -> tuple[Confirmed | None, str]:
    """Return the verdict to compare with; verdicts compare within one suite, so a new one first answers for before."""
    confirmed = memory.confirmed
    if confirmed is None:
        return None, ""
    last = _confirmed(confirmed.verdict)
    if confirmed.fingerprint.suite == suite:
        return last, ""
    reprobes = [
        judge_run(run.attempt.checks, replace(circumstances, version=run.version, control=Control.GREEN))
        for run in facts.runs
        if run.purpose is Purpose.SUITE
        and run.fingerprint.suite == suite
        and run.fingerprint.environment == confirmed.fingerprint.environment
    ]
    known = [verdict for verdict in reprobes if verdict.verdict in KNOWN]
    if not known:
        return None, "new suite, not compared with the days before"
    again = _confirmed(known[-1])
    if again.verdict is last.verdict:
        return again, ""
    return again, f"suite changed: it finds {again.verdict} where the suite before found {last.verdict}"


def _confirmed(verdict: RunVerdict) -> Confirmed:
    return Confirmed(verdict.verdict, verdict.signature, verdict.fault)


def _carried_day(facts: DayFacts, known: Mapping[date, Day]) -> Day | None:
    origin = _first(carry.origin for carry in facts.carries)
    source = next(
        (known[carry.source] for carry in facts.carries if carry.origin is origin and carry.source in known), None
    )
    if source is None:
        return None
    return replace(source, day=facts.day, origin=origin, carried_from=source.carried_from or source.day)
