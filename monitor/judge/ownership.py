"""Whose a fault is where the checkpoint is a stranger's: nobody's, while files and runtime may each be wrong; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import Blame, Outcome, SubjectForm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.domain import CheckResult

# what the files hold and the runtime leaves: only of our own miniatures is it known that the model has it
EITHERS = frozenset({"unexpected-tensors"})
_WHY = "the files may hold too much, or the runtime may use too little"


def of_its_files(checks: Iterable[CheckResult], form: SubjectForm) -> tuple[CheckResult, ...]:
    """Return the checks, of a folder of the user's own with nobody to blame for what either side can have done."""
    if form is not SubjectForm.FOLDER:
        return tuple(checks)
    return tuple(_unattributed(check) if _is_eithers(check) else check for check in checks)


def _is_eithers(check: CheckResult) -> bool:
    return check.outcome is Outcome.FAILED and check.fault in EITHERS


def _unattributed(check: CheckResult) -> CheckResult:
    return replace(check, blame=Blame.UNATTRIBUTED, message=f"{check.message}; {_WHY}")
