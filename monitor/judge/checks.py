"""From what a session said and how its process ended to one result a check; pure."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.domain import Blame, CheckResult, Ending, Outcome, Rung
from monitor.judge.faults import BLAME
from monitor.judge.signature import signature
from probes import catalogue, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitor.domain import Runtime
    from monitor.judge.observations import Finished, Said, Session

SESSION_CHECKS = ("installs.imports",)

HANG_FACTOR = 3  # a hang counts only when the subject, alone, was given this many times the limit

_UNSEEN = Ending()

# python's own for an exception nobody caught, and for a call that was refused: the session's main is ours
_SESSION_FAILED = frozenset({1, 2})

# from outside, never from the runtime's own code: an operator, a stopping engine, the kernel
_FOREIGN_SIGNALS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


def judge_subject(
    session: Session, subject_id: str, ending: Ending | None, *, runtime: Runtime, hang_counts: bool
) -> tuple[CheckResult, ...]:
    """Return the import and every check of one subject, in the order in which the runtime is asked.

    ``ending`` is how the container ended, None when nobody saw it. ``hang_counts`` says that this was the solo rerun
    with ``HANG_FACTOR`` times the limit.
    """
    own = _judge_said(session.own, SESSION_CHECKS, ending, session=session, hang_counts=hang_counts)
    expected = checks_of(runtime)
    blocked = next((result for result in own if result.outcome is not Outcome.PASSED), None)
    if blocked is not None:
        reason = f"not reached: {blocked.name} did not pass"
        return own + tuple(_not_reached(name, reason) for name in expected)
    said = session.subjects[subject_id]
    judged = _judge_said(said, expected, ending, session=session, hang_counts=hang_counts)
    return own + tuple(_laid_at_the_right_door(result, catalogue.adapter_class(runtime).stands_on) for result in judged)


def _laid_at_the_right_door(result: CheckResult, foundation: str) -> CheckResult:
    """Blame what the runtime stands on for the checks that it answers itself when it is asked alone."""
    if result.blame is Blame.RUNTIME and foundation and result.name in checks_of(foundation):
        return replace(result, blame=Blame.DEPENDENCY)
    return result


def checks_of(runtime: str) -> tuple[str, ...]:
    return tuple(check.name for check in catalogue.sequence(runtime))


def passed(name: str, message: str = "", seconds: float = 0.0) -> CheckResult:
    return CheckResult(name, _rung(name), Outcome.PASSED, message=message, seconds=seconds)


def fault_result(
    name: str, fault: str, message: str, *, seconds: float = 0.0, evidence: Mapping[str, Any] | None = None
) -> CheckResult:
    """Return a failure, or an unknown where the fault is ours."""
    blame = BLAME[fault]
    return CheckResult(
        name=name,
        rung=_rung(name),
        outcome=Outcome.UNKNOWN if blame is Blame.INFRA else Outcome.FAILED,
        fault=fault,
        blame=blame,
        message=message,
        signature=signature(fault, message, _place(evidence or {})),
        seconds=seconds,
        evidence=dict(evidence) if evidence else None,
    )


def _judge_said(
    said: Said, expected: Iterable[str], ending: Ending | None, *, session: Session, hang_counts: bool
) -> tuple[CheckResult, ...]:
    finished = {one.check: one for one in said.finished}
    results: list[CheckResult] = []
    stopped = ""  # why what follows was not reached; the first unanswered check carries the fault
    for name in expected:
        if name in finished:
            result = _judge_finished(finished[name], malformed=said.spoiled or session.malformed)
            results.append(result)
            if result.outcome in (Outcome.FAILED, Outcome.UNKNOWN):
                stopped = stopped or f"not reached: {name} did not pass"
            continue
        if name in said.started:
            results.append(_judge_unanswered(name, said, ending, hang_counts=hang_counts))
            stopped = f"not reached: the process ended in {name}"
        elif stopped:
            results.append(_not_reached(name, stopped))
        else:
            results.append(_judge_unstarted(name, said, ending))
            stopped = f"not reached: {name} never started"
    return tuple(results)


def _judge_finished(one: Finished, *, malformed: str) -> CheckResult:
    match one.outcome:
        case "passed":
            return CheckResult(
                one.check,
                _rung(one.check),
                Outcome.PASSED,
                message=one.message,
                seconds=one.seconds,
                evidence=dict(one.evidence) if one.evidence else None,
            )
        case "skipped":
            return CheckResult(one.check, _rung(one.check), Outcome.SKIPPED, message=one.message, seconds=one.seconds)
        case _ if malformed:
            # somebody wrote into this file who should not have: its failures prove nothing
            return fault_result(one.check, "infra-events", malformed, seconds=one.seconds)
        case _:
            return fault_result(
                one.check, one.fault or "unclassified", one.message, seconds=one.seconds, evidence=one.evidence
            )


def _judge_unanswered(name: str, said: Said, ending: Ending | None, *, hang_counts: bool) -> CheckResult:
    """Judge a check that started and never finished: the ending is its answer."""
    if said.spoiled:
        return fault_result(name, "infra-events", said.spoiled)
    end = said.died or ending or _UNSEEN
    ours = _our_fault(end)
    if ours is not None:
        return fault_result(name, *ours, seconds=end.seconds)
    if end.timed_out:
        return _judge_hang(name, end, hang_counts=hang_counts)
    if end.signal == signal.SIGBUS:
        return _judge_bus_error(name, end)
    return fault_result(name, *_how_it_ended(name, end, of_session=said.died is None), seconds=end.seconds)


def _how_it_ended(name: str, end: Ending, *, of_session: bool) -> tuple[str, str]:
    """Return slug and message for an ending that nobody from outside brought about."""
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
    return CheckResult(
        name,
        _rung(name),
        Outcome.UNKNOWN,
        fault="hung",
        blame=Blame.UNATTRIBUTED,
        message=message,
        signature=signature("hung", message),
        seconds=end.seconds,
    )


def _judge_bus_error(name: str, end: Ending) -> CheckResult:
    message = "the process was ended by SIGBUS: a full memory file system or a file cut short does that, not only code"
    return CheckResult(
        name,
        _rung(name),
        Outcome.UNKNOWN,
        fault="crashed",
        blame=Blame.UNATTRIBUTED,
        message=message,
        signature=signature("crashed", message),
        seconds=end.seconds,
    )


def _judge_unstarted(name: str, said: Said, ending: Ending | None) -> CheckResult:
    """Judge the first check that never started although nothing before it failed: no runtime is blamed for that."""
    if said.spoiled:
        return fault_result(name, "infra-events", said.spoiled)
    end = said.died or ending or _UNSEEN
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
    """Return slug and message where the way it ended is the bench's doing."""
    if end.engine_fault:
        return "infra-engine", end.engine_fault
    if end.out_of_memory:
        return "infra-memory", "our memory limit ended the process"
    if end.exit_code == wire.OUR_BUG_EXIT and not end.timed_out:
        return "infra-recipe", "the probe's own code raised: the session's log says what"
    if not end.timed_out and end.signal in _FOREIGN_SIGNALS:
        return "infra-interrupted", f"the process was ended from outside by {_signal_name(end.signal)}"
    if end.exit_code is None and end.signal is None and not end.timed_out:
        return "infra-interrupted", "nobody saw how the process ended"
    return None


def _not_reached(name: str, reason: str) -> CheckResult:
    return CheckResult(name, _rung(name), Outcome.NOT_REACHED, message=reason)


def _rung(name: str) -> Rung:
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
