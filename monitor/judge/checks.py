"""From a session's events and how its process ended to one result a check; pure."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.domain import Blame, CheckResult, Ending, Outcome, Rung
from monitor.judge.faults import BLAME
from monitor.judge.signature import signature
from probes import catalogue, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import Runtime
    from monitor.judge.observations import Finished, Session, SubjectNotes

SESSION_CHECKS = ("installs.imports",)

HANG_FACTOR = 3  # a hang counts only when the subject, alone, was given this many times the limit

_UNSEEN = Ending()

# Python's exit codes for an uncaught exception and for a refused call: the session's main is ours
_SESSION_FAILED = frozenset({1, 2})

# from outside, never from the runtime's own code: an operator, a stopping engine, the kernel
_FOREIGN_SIGNALS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


def judge_subject(
    session: Session,
    subject_id: str,
    ending: Ending | None,
    *,
    runtime: Runtime,
    hang_counts: bool,
    asked: Sequence[str] = (),
) -> tuple[CheckResult, ...]:
    """Return the import and every check of one subject, in the order in which the runtime is asked.

    ``asked`` has the checks that were asked, if not all: what a quick run or older probes never asked is no failure.
    ``ending`` is how the container ended, None when that was not seen. ``hang_counts`` is true for the solo rerun with
    ``HANG_FACTOR`` times the limit.
    """
    shared = _judge_events(session.shared, SESSION_CHECKS, ending, session=session, hang_counts=hang_counts)
    expected = asked or checks_of(runtime)
    blocked = next((result for result in shared if result.outcome is not Outcome.PASSED), None)
    if blocked is not None:
        reason = f"not reached: {blocked.name} did not pass"
        return shared + tuple(not_reached(name, reason) for name in expected)
    events = session.subjects[subject_id]
    judged = _judge_events(events, expected, ending, session=session, hang_counts=hang_counts)
    stands_on = catalogue.adapter_class(runtime).stands_on
    return shared + tuple(_of_a_finding(_blamed_on_foundation(result, stands_on)) for result in judged)


def _of_a_finding(result: CheckResult) -> CheckResult:
    """Return a check that is there for information as skipped, with what became of it, unless it passed.

    A spoiled record stays one: it says something of the checks before, too. So does the fault that the check proves.
    """
    check = catalogue.checks().get(result.name)
    if check is None or not check.finding or result.outcome in (Outcome.PASSED, Outcome.SKIPPED):
        return result
    if result.fault and result.fault in ("infra-events", check.proves):
        return result
    return CheckResult(result.name, result.rung, Outcome.SKIPPED, message=f"not measured: {result.message}")


def _blamed_on_foundation(result: CheckResult, foundation: str) -> CheckResult:
    """Blame what the runtime stands on for the checks that it answers itself when it is asked alone."""
    if result.blame is Blame.RUNTIME and foundation and result.name in checks_of(foundation):
        return replace(result, blame=Blame.DEPENDENCY)
    return result


def checks_of(runtime: str, *, deep: bool = True) -> tuple[str, ...]:
    return tuple(check.name for check in catalogue.sequence(runtime) if deep or not check.deep)


def quick_part(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """Return the checks without those of the deep part."""
    known = catalogue.checks()
    return [check for check in checks if check.name not in known or not known[check.name].deep]


def passed(name: str, message: str = "", seconds: float = 0.0) -> CheckResult:
    return CheckResult(name, rung_of(name), Outcome.PASSED, message=message, seconds=seconds)


def fault_result(
    name: str, fault: str, message: str, *, seconds: float = 0.0, evidence: Mapping[str, Any] | None = None
) -> CheckResult:
    """Return a failure, or an unknown where the fault is ours."""
    blame = BLAME[fault]
    return CheckResult(
        name=name,
        rung=rung_of(name),
        outcome=Outcome.UNKNOWN if blame is Blame.INFRA else Outcome.FAILED,
        fault=fault,
        blame=blame,
        message=message,
        signature=signature(fault, message, _place(evidence or {})),
        seconds=seconds,
        evidence=dict(evidence) if evidence else None,
    )


def _judge_events(
    events: SubjectNotes, expected: Iterable[str], ending: Ending | None, *, session: Session, hang_counts: bool
) -> tuple[CheckResult, ...]:
    finished = {check.check: check for check in events.finished}
    results: list[CheckResult] = []
    stopped = ""  # why what follows was not reached; the first unanswered check carries the fault
    for name in expected:
        if name in finished:
            result = _judge_finished(finished[name], spoiled=events.spoiled, malformed=session.malformed)
            results.append(result)
            if result.outcome in (Outcome.FAILED, Outcome.UNKNOWN):
                stopped = stopped or f"not reached: {name} did not pass"
            continue
        if name in events.started:
            results.append(_judge_unanswered(name, events, ending, hang_counts=hang_counts))
            stopped = f"not reached: the process ended in {name}"
        elif stopped:
            results.append(not_reached(name, stopped))
        else:
            results.append(_judge_unstarted(name, events, ending))
            stopped = f"not reached: {name} never started"
    return tuple(results)


def _judge_finished(finished: Finished, *, spoiled: str, malformed: str) -> CheckResult:
    match finished.outcome:
        case _ if spoiled:
            # another process may have written it: a pass proves no more than a failure
            return fault_result(finished.check, "infra-events", spoiled, seconds=finished.seconds)
        case "passed":
            return CheckResult(
                finished.check,
                rung_of(finished.check),
                Outcome.PASSED,
                message=finished.message,
                seconds=finished.seconds,
                evidence=dict(finished.evidence) if finished.evidence else None,
            )
        case "skipped":
            return CheckResult(
                finished.check,
                rung_of(finished.check),
                Outcome.SKIPPED,
                message=finished.message,
                seconds=finished.seconds,
            )
        case _ if malformed:
            # something else wrote into this file: its failures prove nothing
            return fault_result(finished.check, "infra-events", malformed, seconds=finished.seconds)
        case _:
            return fault_result(
                finished.check,
                finished.fault or "unclassified",
                finished.message,
                seconds=finished.seconds,
                evidence=finished.evidence,
            )


def _judge_unanswered(name: str, events: SubjectNotes, ending: Ending | None, *, hang_counts: bool) -> CheckResult:
    """Judge a check that started and never finished: the ending is its answer."""
    if events.spoiled:
        return fault_result(name, "infra-events", events.spoiled)
    end = events.died or ending or _UNSEEN
    ours = _our_fault(end)
    if ours is not None:
        return fault_result(name, *ours, seconds=end.seconds)
    if end.timed_out:
        return _judge_hang(name, end, hang_counts=hang_counts)
    if end.signal == signal.SIGBUS:
        return _judge_bus_error(name, end)
    return fault_result(name, *_how_it_ended(name, end, of_session=events.died is None), seconds=end.seconds)


def _how_it_ended(name: str, end: Ending, *, of_session: bool) -> tuple[str, str]:
    """Return fault and message for an ending without a cause from outside."""
    if end.signal == signal.SIGILL:
        return "unsupported-on-platform", "the process was ended by SIGILL: an instruction that this processor lacks"
    if end.signal is not None:
        return "crashed", f"the process was ended by {_signal_name(end.signal)}"
    if of_session and end.exit_code in _SESSION_FAILED:
        return "infra-recipe", f"the session itself ended with exit code {end.exit_code}: its log says why"
    if end.exit_code:
        return "crashed", f"the process ended with exit code {end.exit_code}"
    return "infra-events", f"the process ended cleanly and {name} never finished"


def _judge_hang(name: str, end: Ending, *, hang_counts: bool) -> CheckResult:
    if hang_counts:
        return fault_result(name, "hung", f"no answer alone within {HANG_FACTOR} times the limit", seconds=end.seconds)
    message = f"no answer within the time limit; counts only when it hangs alone with {HANG_FACTOR} times the limit"
    return _unattributed(name, "hung", message, end.seconds)


def _judge_bus_error(name: str, end: Ending) -> CheckResult:
    message = "the process was ended by SIGBUS: a full memory file system or a file cut short does that, not only code"
    return _unattributed(name, "crashed", message, end.seconds)


def _unattributed(name: str, fault: str, message: str, seconds: float) -> CheckResult:
    result = fault_result(name, fault, message, seconds=seconds)
    return replace(result, outcome=Outcome.UNKNOWN, blame=Blame.UNATTRIBUTED)


def _judge_unstarted(name: str, events: SubjectNotes, ending: Ending | None) -> CheckResult:
    """Judge the first check that never started although nothing before it failed: no runtime is blamed for that."""
    if events.spoiled:
        return fault_result(name, "infra-events", events.spoiled)
    end = events.died or ending or _UNSEEN
    ours = _our_fault(end)
    if ours is not None:
        return fault_result(name, *ours)
    if end.timed_out:
        return fault_result(name, "infra-time", f"the time limit came before {name} started")
    if end.signal is not None or end.exit_code:
        how = _signal_name(end.signal) if end.signal is not None else f"exit code {end.exit_code}"
        return fault_result(name, "infra-interrupted", f"the process ended by {how} before {name} started")
    return fault_result(name, "infra-events", f"the process ended cleanly and {name} never started")


def _our_fault(end: Ending) -> tuple[str, str] | None:
    """Return fault and message where our infrastructure ended the process."""
    if end.engine_fault:
        return "infra-engine", end.engine_fault
    if end.out_of_memory:
        return "infra-memory", "our memory limit ended the process"
    if end.exit_code == wire.OUR_BUG_EXIT and not end.timed_out:
        return "infra-recipe", "the probe's own code raised: the session's log says what"
    if not end.timed_out and end.signal in _FOREIGN_SIGNALS:
        return "infra-interrupted", f"the process was ended from outside by {_signal_name(end.signal)}"
    if end.exit_code is None and end.signal is None and not end.timed_out:
        return "infra-interrupted", "how the process ended was not seen"
    return None


def not_reached(name: str, reason: str) -> CheckResult:
    return CheckResult(name, rung_of(name), Outcome.NOT_REACHED, message=reason)


def rung_of(name: str) -> Rung:
    """Return the rung of a check."""
    return Rung(wire.rung_of(name))


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"


def _place(evidence: Mapping[str, Any]) -> str:
    """Return where the last frame of the failure lies; line numbers move with every release and say nothing."""
    frames = evidence.get("frames")
    last = frames[-1] if isinstance(frames, list) and frames else None
    return f"{last.get('file')}:{last.get('function')}" if isinstance(last, dict) else ""
