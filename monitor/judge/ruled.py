"""What the comparison of a run's answer with all others makes of its check against the reference; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import REFERENCE, Blame, CheckResult, Outcome, Runtime
from monitor.judge.checks import fault_result, passed
from monitor.judge.parity import MATCHES, RECORDS
from monitor.judge.reference import AnswerVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIFFERS = "differs-from-reference"


def as_ruled(
    checks: Sequence[CheckResult], standing: AnswerVerdict, reason: str, runtime: Runtime
) -> tuple[CheckResult, ...]:
    """Return the checks of a run with what the ruling says of its answer.

    The reference has nothing to be compared with but the others: where its answer is wrong or disputed, its check says
    so. Another runtime's check compares with what is pinned: where that is wrong or disputed, the ruling decides.
    """
    if standing in (AnswerVerdict.UNCONTESTED, AnswerVerdict.APART):
        return tuple(checks)
    if runtime is REFERENCE:
        return _of_reference(checks, standing, reason)
    return tuple(_of_other(check, standing, reason) if check.name == MATCHES else check for check in checks)


def _of_reference(checks: Sequence[CheckResult], standing: AnswerVerdict, reason: str) -> tuple[CheckResult, ...]:
    if standing is AnswerVerdict.RIGHT:
        result = passed(RECORDS, reason)
    elif standing is AnswerVerdict.WRONG:
        result = fault_result(RECORDS, "wrong-answer", reason)
    else:
        result = replace(fault_result(RECORDS, "disputed-answer", reason), outcome=Outcome.UNKNOWN)
    return (*(check for check in checks if check.name != RECORDS), result)


def _of_other(check: CheckResult, standing: AnswerVerdict, reason: str) -> CheckResult:
    if check.outcome not in (Outcome.PASSED, Outcome.FAILED) or (check.fault and check.fault != _DIFFERS):
        return check
    if standing is AnswerVerdict.DISPUTED:
        message = f"the reference is disputed: {reason}"
        return replace(check, outcome=Outcome.UNKNOWN, fault=_DIFFERS, blame=Blame.REFERENCE, message=message)
    if standing is AnswerVerdict.RIGHT and check.outcome is Outcome.FAILED:
        message = f"differs from the pinned reference, which is wrong: {reason}"
        return replace(check, outcome=Outcome.PASSED, fault="", blame=None, message=message, signature="")
    if standing is AnswerVerdict.WRONG and check.outcome is Outcome.PASSED:
        message = f"as the pinned reference, which is wrong: {reason}"
        return fault_result(check.name, _DIFFERS, message, seconds=check.seconds, evidence=check.evidence)
    return check
