"""Whether today's attempts settle a cell's verdict, or which attempt is needed next; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.domain import Blame, CellVerdict, CheckResult, Rung, RunVerdict, Verdict
from monitor.judge.checks import HANG_FACTOR, quick_part
from monitor.judge.control import Control
from monitor.judge.faults import RULED
from monitor.judge.merging import merge
from monitor.judge.runs import Stage
from monitor.judge.verdict import Circumstances, judge_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHANGE_RUNS = 3  # sessions that must agree, one of them alone in a process of its own, before a verdict changes
FAILURE_RUNS = 2  # sessions that must agree before a cell that was never judged is broken
MIXED_RUNS = 3  # sessions before outcomes that contradict each other are flaky
EACH_WAY = 2  # sessions forked and alone before a contradiction between the two ways is the fork's
BY_HAND_RUNS = 2  # sessions behind a pinned version that works: no later day confirms it
RETRIES = 2  # after a fault of ours, or an unclassified failure
MAX_ATTEMPTS = 8

KNOWN = frozenset({CellVerdict.WORKS, CellVerdict.BROKEN, CellVerdict.FLAKY})
# what the subject itself can cause within our limits: one repetition separates an accident from a habit
_RECURRING = frozenset({"infra-memory", "infra-events"})
# ours, and the same tomorrow: trying again shows nothing new
_LASTING = frozenset({"infra-miniature", "infra-recipe"})
# read from the runtime's own table of architectures, when it is asked or by its loader when it opens the files
_READ = frozenset({"unknown-architecture", "needs-remote-code"})


class RetryReason(StrEnum):
    """Why another attempt is needed."""

    FIRST = "not probed yet"
    FORK = "a failure seen in a fork is confirmed in a fresh process"
    CHANGE = "a change of verdict is confirmed by three sessions that agree, one of them alone"
    HANG = "a hang is confirmed alone with three times the limit"
    INFRA = "our infrastructure failed"
    UNCLASSIFIED = "an unclassified failure is reproduced in a fresh process"
    FAILURE = "a first failure is confirmed by a second session"
    MIXED = "sessions contradict each other, and at least one more each way shows whether the fork is the cause"
    REFERENCE = "a second session records the reference's answer before anything is compared with it"
    BY_HAND = "a pinned version that works is confirmed by a second session, for no later day does it"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of the day; ``solo`` is a fresh process, the alternative a fork of a primed parent."""

    checks: tuple[CheckResult, ...]
    solo: bool
    limit_factor: int = 1
    run_id: str = ""
    invocation: str = ""  # one start of the daemon, "" where it is not known
    deep: bool = True


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The verdict that was confirmed before today."""

    verdict: CellVerdict
    signature: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class RetryNeeded:
    why: RetryReason
    leaning: RunVerdict  # what the attempts so far would say
    solo: bool = True
    limit_factor: int = 1


@dataclass(frozen=True, slots=True)
class Settled:
    verdict: RunVerdict
    changed: bool = False  # against the verdict that stood
    note: str = ""


def decide(last: Confirmed | None, attempts: Sequence[Attempt], circumstances: Circumstances) -> Settled | RetryNeeded:
    """Return the settled verdict of ``attempts``, all made with one fingerprint, oldest first, or what is needed."""
    if not attempts:
        return RetryNeeded(RetryReason.FIRST, merge((), circumstances.runtime.record.bar), solo=False)
    circumstances = replace(circumstances, reproduced=reproduced(attempts))
    attempts = _that_count(attempts, circumstances)
    verdicts = [judge_run(attempt.checks, circumstances) for attempt in attempts]
    hung = any(verdict.fault == "hung" for verdict in verdicts)
    next_factor = HANG_FACTOR if hung else 1
    decision = _decide_by_evidence(last, attempts, verdicts, next_factor, circumstances)
    if isinstance(decision, RetryNeeded):
        decision = _decide_by_unknowns(attempts, verdicts, circumstances, decision)
    if isinstance(decision, RetryNeeded) and len(attempts) >= MAX_ATTEMPTS:
        return Settled(unsettled(verdicts[-1], f"not settled after {len(attempts)} runs"))
    return decision


def can_be_mended(verdict: RunVerdict) -> bool:
    """Return whether a day is unknown by a fault of ours that may be gone at the next attempt."""
    return verdict.verdict is CellVerdict.UNKNOWN and passes_by(verdict.blame, verdict.fault)


def passes_by(blame: Blame | None, fault: str) -> bool:
    """Return whether a fault is ours and may be gone another time."""
    return blame is Blame.INFRA and fault not in _LASTING


def _that_count(attempts: Sequence[Attempt], circumstances: Circumstances) -> list[Attempt]:
    """Leave out what our infrastructure spoiled before the daemon's last start, for it may have been mended since.

    What works in the quick part is left out, too, where an attempt fails by the deep part alone.
    """
    latest = attempts[-1].invocation
    judged = [(attempt, judge_run(attempt.checks, circumstances)) for attempt in attempts]

    def works_quick(attempt: Attempt) -> bool:
        return _works(judge_run(quick_part(attempt.checks), circumstances))

    deep_fails = any(attempt.deep and not _works(verdict) and works_quick(attempt) for attempt, verdict in judged)
    return [
        attempt
        for attempt, verdict in judged
        if (attempt.invocation == latest or not can_be_mended(verdict))
        and (attempt.deep or not deep_fails or not _works(verdict))
    ]


def reproduced(attempts: Iterable[Attempt]) -> frozenset[str]:
    """Return the signatures of unclassified failures seen in more than one process, one of them fresh."""
    seen: Counter[str] = Counter()
    fresh: set[str] = set()
    for attempt in attempts:
        signatures = {check.signature for check in attempt.checks if check.blame is Blame.UNATTRIBUTED}
        seen.update(signatures)
        if attempt.solo:
            fresh |= signatures
    return frozenset(signature for signature in fresh if seen[signature] > 1)


def unsettled(verdict: RunVerdict, why: str) -> RunVerdict:
    """Return ``verdict`` as an unknown that still shows what was seen."""
    reason = f"{why}: {verdict.reason}"
    rungs = tuple(
        replace(rung, verdict=Verdict.UNKNOWN, reason=f"{why}: {rung.reason}")
        if rung.verdict in (Verdict.FAILED, Verdict.FLAKY) or (rung.verdict is Verdict.PASSED and _works(verdict))
        else rung
        for rung in verdict.rungs
    )
    return replace(verdict, verdict=CellVerdict.UNKNOWN, reason=reason, rungs=rungs)


def _works(verdict: RunVerdict) -> bool:
    return verdict.verdict is CellVerdict.WORKS


def _decide_by_evidence(
    last: Confirmed | None,
    attempts: Sequence[Attempt],
    verdicts: Sequence[RunVerdict],
    factor: int,
    circumstances: Circumstances,
) -> Settled | RetryNeeded:
    """Weigh the attempts that know something, in whatever order they were made."""
    known = [(a, v) for a, v in zip(attempts, verdicts, strict=True) if v.verdict is not CellVerdict.UNKNOWN]
    if not known:
        return RetryNeeded(RetryReason.INFRA, verdicts[-1], limit_factor=factor)
    works = sum(_works(v) for _, v in known)
    if 0 < works < len(known):
        return _decide_mixed(last, known, factor, circumstances.runtime.record.bar)
    if works:
        return _decide_works(last, known, factor, circumstances)
    decision = _decide_failed(last, known, factor, circumstances.runtime.record.bar)
    if isinstance(decision, RetryNeeded) or last is not None or _is_certain(decision.verdict):
        return decision
    # a hang that did not count yet is the same failure, seen in a session more
    alike = sum(verdict.fault == decision.verdict.fault for verdict in verdicts)
    if alike < FAILURE_RUNS and decision.verdict.rung is not Rung.INSTALLS:
        return RetryNeeded(RetryReason.FAILURE, decision.verdict, limit_factor=factor)
    return decision


def _decide_works(
    last: Confirmed | None, known: Sequence[tuple[Attempt, RunVerdict]], factor: int, circumstances: Circumstances
) -> Settled | RetryNeeded:
    latest = known[-1][1]
    changed = last is not None and last.verdict is not CellVerdict.WORKS
    if changed and not _is_change_of_ruling(last, latest):
        alone = any(attempt.solo for attempt, _ in known)
        if not alone or len(known) < CHANGE_RUNS:
            return RetryNeeded(RetryReason.CHANGE, latest, solo=factor > 1 or not alone, limit_factor=factor)
    if circumstances.by_hand and len(known) < BY_HAND_RUNS:
        return RetryNeeded(RetryReason.BY_HAND, latest, solo=False, limit_factor=factor)
    return Settled(merge([v for _, v in known], circumstances.runtime.record.bar), changed=changed)


def _decide_failed(
    last: Confirmed | None, known: Sequence[tuple[Attempt, RunVerdict]], factor: int, bar: Sequence[Rung]
) -> Settled | RetryNeeded:
    latest = known[-1][1]
    fresh = [v for a, v in known if a.solo or _is_certain(v)]
    if not fresh:
        if last is not None and _same_failure(last, latest):
            return Settled(latest)
        return RetryNeeded(RetryReason.FORK, latest, limit_factor=factor)
    merged = merge(fresh, bar)
    changed = last is not None and last.verdict is not merged.verdict
    if changed and len(known) < CHANGE_RUNS and not _is_change_of_ruling(last, merged):
        # where forks say the same they may say it again, in a session of their own: one import serves many
        return RetryNeeded(RetryReason.CHANGE, merged, solo=factor > 1, limit_factor=factor)
    return Settled(merged, changed=changed, note=_other_failure(last, merged))


def _decide_mixed(
    last: Confirmed | None, known: Sequence[tuple[Attempt, RunVerdict]], factor: int, bar: Sequence[Rung]
) -> Settled | RetryNeeded:
    """Say whether outcomes that contradict each other are flaky, or the fork's, which makes one of them every time."""
    forked, alone = [v for a, v in known if not a.solo], [v for a, v in known if a.solo]
    together = merge([v for _, v in known], bar)
    if _disagree(forked) or _disagree(alone):
        changed = last is not None and last.verdict is not together.verdict
        if len(known) < MIXED_RUNS:
            why = RetryReason.CHANGE if changed else RetryReason.MIXED
            return RetryNeeded(why, together, limit_factor=factor)
        return Settled(together, changed=changed)
    if len(forked) < EACH_WAY:
        return RetryNeeded(RetryReason.MIXED, together, solo=factor > 1, limit_factor=factor)
    if len(alone) < EACH_WAY:
        return RetryNeeded(RetryReason.MIXED, together, limit_factor=factor)
    merged = merge(alone, bar)
    changed = last is not None and last.verdict is not merged.verdict
    if changed and len(alone) < CHANGE_RUNS:
        return RetryNeeded(RetryReason.CHANGE, merged, limit_factor=factor)
    where = (
        "failed in a fork, works in a fresh process" if _works(merged) else "works in a fork, fails in a fresh process"
    )
    return Settled(merged, changed=changed, note=where)


def _disagree(verdicts: Sequence[RunVerdict]) -> bool:
    return len({_works(verdict) for verdict in verdicts}) > 1


def _same_failure(last: Confirmed, verdict: RunVerdict) -> bool:
    """Return whether a run only repeats the failure that stands: that one was seen in a fresh process already."""
    return last.verdict is verdict.verdict is CellVerdict.BROKEN and bool(last.signature == verdict.signature != "")


def _is_certain(verdict: RunVerdict) -> bool:
    """Return whether a verdict rests on what no fork and no order of subjects can change.

    That is the runtime's own table of architectures, and the comparison of answers from many sessions.
    """
    read = verdict.rung in (Rung.KNOWS, Rung.LOADS) and verdict.fault in _READ
    return read or verdict.fault in RULED


def _is_change_of_ruling(last: Confirmed | None, verdict: RunVerdict) -> bool:
    """Return whether only the comparison with others' answers makes the difference: it rests on their sessions too."""
    return last is not None and (last.fault in RULED or verdict.fault in RULED)


def _other_failure(last: Confirmed | None, merged: RunVerdict) -> str:
    same_verdict = last is not None and last.verdict is merged.verdict
    if same_verdict and last is not None and last.signature and merged.signature not in ("", last.signature):
        return "still broken, by another failure than before"
    return ""


def _decide_by_unknowns(
    attempts: Sequence[Attempt], verdicts: Sequence[RunVerdict], circumstances: Circumstances, wanted: RetryNeeded
) -> Settled | RetryNeeded:
    """Say whether trying again can help when the latest attempt knew nothing."""
    latest = verdicts[-1]
    if latest.verdict is not CellVerdict.UNKNOWN:
        return wanted
    if latest.fault == "hung" and attempts[-1].limit_factor < HANG_FACTOR:
        return replace(wanted, why=RetryReason.HANG, limit_factor=HANG_FACTOR)
    if circumstances.control is Control.PENDING and circumstances.subject.control and not any(a.solo for a in attempts):
        # before the whole day depends on a control that only fails in a fork
        return replace(wanted, why=RetryReason.FORK)
    alike = sum(v.verdict is CellVerdict.UNKNOWN and v.blame is latest.blame for v in verdicts)
    # in a shared session another subject may have caused it, so only a fresh process proves a habit
    if alike <= (1 if latest.fault in _RECURRING and attempts[-1].solo else RETRIES):
        patient = latest.fault == "infra-time" and (
            attempts[-1].limit_factor >= HANG_FACTOR or _installer_ran_out_of_time(attempts[-1])
        )
        if passes_by(latest.blame, latest.fault) and not patient:
            return replace(wanted, why=RetryReason.INFRA)
        may_count = circumstances.subject.qualified and circumstances.control.vouches
        if latest.fault == "unclassified" and may_count:
            return replace(wanted, why=RetryReason.UNCLASSIFIED)
    return Settled(latest)


def _installer_ran_out_of_time(attempt: Attempt) -> bool:
    """Return whether building or fetching took longer than it may: half an hour more of the same shows nothing new."""
    installer = {stage.check for stage in Stage}
    return any(check.name in installer and check.fault == "infra-time" for check in attempt.checks)
