"""From one run's facts to its checks: how it installed, what the session recorded, and what neither can prove; pure."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.domain import Blame, CheckResult, Outcome, SubjectForm
from monitor.judge.checks import (
    HANG_FACTOR,
    SESSION_CHECKS,
    checks_of,
    fault_result,
    judge_subject,
    not_reached,
    passed,
)
from monitor.judge.faults import BLAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from monitor.domain import Ending, Runtime
    from monitor.judge.observations import Session

# what a package has stopped accepting, in the words of its refusal: its users of that day never met it
REFUSALS: Mapping[str, re.Pattern[str]] = {
    "torch": re.compile(r"masked_fill_? only supports boolean masks"),
}
# what the files hold and the runtime leaves: only of our own miniatures is it known that the model has it
FILES_OR_RUNTIME = frozenset({"unexpected-tensors"})
_FILES_OR_RUNTIME = "the files may hold too much, or the runtime may use too little"


class Stage(StrEnum):
    """Where an installation stopped; each stage is a check of the first rung."""

    RESOLVES = "resolves"
    BUILDS = "builds"
    CONSISTENT = "consistent"

    @property
    def check(self) -> str:
        return f"installs.{self.value}"


def checks_without_environment(runtime: Runtime, failed: Stage, fault: str, message: str) -> tuple[CheckResult, ...]:
    """Return the checks of a run whose installation failed: there is no environment to run the others in."""
    others = (*SESSION_CHECKS, *checks_of(runtime))
    return judge_installation(failed, fault=fault, message=message) + tuple(
        not_reached(name, "not reached: it does not install") for name in others
    )


def checks_of_session(
    session: Session,
    subject_id: str,
    ending: Ending,
    *,
    runtime: Runtime,
    solo: bool,
    limit_factor: int,
    asked: Sequence[str] = (),
) -> tuple[CheckResult, ...]:
    """Return the checks of a run that had its environment; ``asked`` has those that it was asked, if not all."""
    hang_counts = solo and limit_factor >= HANG_FACTOR
    checks = judge_subject(session, subject_id, ending, runtime=runtime, hang_counts=hang_counts, asked=asked)
    return judge_installation(None) + checks


def judge_installation(failed: Stage | None, *, fault: str = "", message: str = "") -> tuple[CheckResult, ...]:
    """Return the installer's three checks. ``failed`` is None when the environment stands."""
    results = []
    stopped = ""
    for stage in Stage:
        if stopped:
            results.append(not_reached(stage.check, f"not reached: {stopped} failed"))
        elif stage is failed:
            results.append(fault_result(stage.check, fault if fault in BLAME else "infra-recipe", message))
            stopped = stage.check
        else:
            results.append(passed(stage.check))
    return tuple(results)


def of_its_day(checks: Iterable[CheckResult], later: Collection[str]) -> tuple[CheckResult, ...]:
    """Return the checks of a past day, with every failure that a ``later`` package explains as an unknown of ours."""
    return tuple(_excused(check, later) for check in checks)


def _excused(check: CheckResult, later: Collection[str]) -> CheckResult:
    if check.outcome is not Outcome.FAILED:
        return check
    for package, refusal in REFUSALS.items():
        if package in later and refusal.search(check.message):
            message = f"{check.message} ({package} is from after this day, and refuses what it accepted then)"
            return fault_result(check.name, "infra-recipe", message, seconds=check.seconds, evidence=check.evidence)
    return check


def of_its_files(checks: Iterable[CheckResult], form: SubjectForm) -> tuple[CheckResult, ...]:
    """Return the checks of a subject; of a user's folder, without blame for what its files or the runtime can cause."""
    if form is not SubjectForm.FOLDER:
        return tuple(checks)
    return tuple(
        replace(check, blame=Blame.UNATTRIBUTED, message=f"{check.message}; {_FILES_OR_RUNTIME}")
        if check.outcome is Outcome.FAILED and check.fault in FILES_OR_RUNTIME
        else check
        for check in checks
    )
