"""From check results to a verdict per rung and the run's own verdict at the bar, blaming carefully; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from monitor.domain import (
    BAR,
    Blame,
    CellVerdict,
    CheckResult,
    Outcome,
    Rung,
    RungVerdict,
    Runtime,
    RunVerdict,
    Subject,
    SubjectForm,
    Verdict,
)
from monitor.judge.control import Control
from monitor.judge.faults import RULED
from monitor.judge.runs import FILES_OR_RUNTIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REASON_CHARS = 300
_INSTALLER = frozenset({"installs.resolves", "installs.builds", "installs.consistent"})
_COUNTED = frozenset({Blame.RUNTIME, Blame.DEPENDENCY, Blame.PLATFORM, Blame.MODEL})
# of the publisher's own text files, which a miniature has unchanged, and which no runtime reads for it
_PUBLISHED = frozenset({"broken-template", "no-stop-token"})
# a kernel that the platform lacks, it lacks whatever the files hold; faults of a miniature's sizes have their own name
_SURE_WITHOUT_FILES = (
    frozenset({"unknown-architecture", "needs-newer", "needs-remote-code", "unsupported-on-platform"}) | _PUBLISHED
)
# one loaded model contradicts itself, which no weights can cause
_SELF_CONTRADICTIONS = frozenset({"cache-differs", "batch-differs", "not-deterministic"})
_SURE_WITHOUT_CONTROL = frozenset({"unknown-architecture", "needs-newer"}) | _PUBLISHED
# a rung's verdict that decides its cell's, the first before the others: an unknown before what was not reached by it
_DECIDING = {
    Verdict.FAILED: CellVerdict.BROKEN,
    Verdict.FLAKY: CellVerdict.FLAKY,
    Verdict.UNKNOWN: CellVerdict.UNKNOWN,
    Verdict.NOT_MEASURED: CellVerdict.UNKNOWN,
    Verdict.NOT_APPLICABLE: CellVerdict.UNKNOWN,
}
_BAD_FILES = frozenset({"bad-checkpoint", "pickle-weights"})


class Discount(NamedTuple):
    """Why a failure does not count, and our own fault where it is one."""

    reason: str
    infra_fault: str = ""


_NOT_INSTALLED = Discount("the runtime does not require it, and our recipe does not install it", "infra-recipe")
_TOO_SLOW_HERE = Discount("real weights may need longer on this machine than our limit", "infra-time")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What must be known in addition to the checks before a failure counts."""

    subject: Subject
    runtime: Runtime
    version: str
    control: Control = Control.ABSENT
    reproduced: frozenset[str] = frozenset()  # signatures seen in more than one process, one of them fresh
    doubt: str = ""  # why the reference is in doubt
    by_hand: bool = False  # a pinned version, which no later day confirms


def judge_run(checks: Sequence[CheckResult], circumstances: Circumstances) -> RunVerdict:
    """Return the verdict per rung (every rung of the bar, and every higher one that has checks) and the run's own."""
    bar = circumstances.runtime.record.bar
    by_rung: dict[Rung, list[CheckResult]] = {rung: [] for rung in bar}
    for check in checks:
        by_rung.setdefault(check.rung, []).append(_weighed(check, circumstances))
    return at_the_bar(tuple(_judge_rung(rung, by_rung[rung], circumstances) for rung in sorted(by_rung)), bar)


def at_the_bar(rungs: tuple[RungVerdict, ...], over: Sequence[Rung]) -> RunVerdict:
    """Return the cell's own verdict over the rungs of its bar, decided by the first that speaks against it.

    A reference whose numbers are wrong or disputed does not work: other runtimes are compared with them.
    """
    bar = [rung for rung in rungs if rung.rung in over or rung.fault in RULED]
    for verdict, of_cell in _DECIDING.items():
        for rung in bar:
            if rung.verdict is verdict:
                reason = f"{rung.rung}: {rung.reason}"
                return RunVerdict(of_cell, rung.rung, reason, rung.blame, rung.fault, rung.signature, rungs)
    names = f"{bar[0].rung} to {bar[-1].rung}" if over == BAR else ", ".join(str(rung.rung) for rung in bar)
    return RunVerdict(CellVerdict.WORKS, None, f"every applicable check passed ({names})", None, "", "", rungs)


def of_newer_packages(verdict: RunVerdict) -> RunVerdict:
    """Blame what fails on the packages: the same version and files work with those of the version's release day."""
    if verdict.verdict is not CellVerdict.BROKEN:
        return verdict
    reason = f"{verdict.reason} (it works with the packages of its release day)"
    rungs = tuple(
        replace(rung, blame=Blame.DEPENDENCY) if rung.rung is verdict.rung else rung for rung in verdict.rungs
    )
    return replace(verdict, blame=Blame.DEPENDENCY, reason=reason, rungs=rungs)


def _weighed(check: CheckResult, circumstances: Circumstances) -> CheckResult:
    """Turn a failure that may not count into an unknown that says why."""
    if check.outcome is Outcome.FAILED and check.fault == "differs-from-reference" and circumstances.doubt:
        message = f"{first_line(check.message)} (reference in doubt: {circumstances.doubt})"
        return replace(check, outcome=Outcome.UNKNOWN, blame=Blame.REFERENCE, message=message)
    discount = _discount(check, circumstances)
    if discount is None:
        return check
    message = f"{first_line(check.message)} ({discount.reason})"
    if discount.infra_fault:
        fault, blame = discount.infra_fault, Blame.INFRA
    else:
        fault, blame = check.fault, check.blame if check.blame is Blame.REFERENCE else Blame.UNATTRIBUTED
    return replace(check, outcome=Outcome.UNKNOWN, fault=fault, blame=blame, message=message)


def _discount(check: CheckResult, circumstances: Circumstances) -> Discount | None:
    if check.outcome is not Outcome.FAILED or check.name in _INSTALLER or check.fault in RULED:
        return None  # installing involves no model, and answers are compared with those of other sessions
    subject, control = circumstances.subject, circumstances.control
    if _control_objects(control, check):
        return Discount(control.reason)
    if discount := _subject_to_blame(check, subject):
        return discount
    if check.blame is Blame.REFERENCE:
        return Discount("the reference is in doubt")
    if check.blame is Blame.UNATTRIBUTED and check.fault not in FILES_OR_RUNTIME:
        return _unclassified(check, circumstances)
    return (
        None
        if check.blame in _COUNTED or check.fault in FILES_OR_RUNTIME
        else Discount("the fault is in our infrastructure")
    )


def _control_objects(control: Control, check: CheckResult) -> bool:
    """Return whether the control does not let a failure count: it fails too, or it has not shown that anything runs."""
    if control is Control.INFRA:
        return True
    if control.vouches or check.rung is Rung.INSTALLS:
        return False
    return control is Control.PENDING or check.fault not in _SURE_WITHOUT_CONTROL


def _subject_to_blame(check: CheckResult, subject: Subject) -> Discount | None:
    if subject.form is SubjectForm.MINIATURE:
        return _miniature_to_blame(check, subject)
    return _TOO_SLOW_HERE if check.fault == "hung" else None


def _miniature_to_blame(check: CheckResult, subject: Subject) -> Discount | None:
    """Return why a failure may be a miniature's: one that never passed proves only what the runtime itself says.

    That an architecture is not registered, that something does not import, that the platform has no kernel for it, or
    that one loaded model gives two answers to the same prompt does not depend on the miniature's files.
    """
    if check.fault in _BAD_FILES:
        return Discount("our miniature is at fault")
    if check.fault == "missing-dependency" and check.rung is not Rung.INSTALLS:
        return _NOT_INSTALLED  # what is installed beside the runtime is our choice; its own import needs what it needs
    sure = _SURE_WITHOUT_FILES | _SELF_CONTRADICTIONS
    if subject.qualified or check.rung is Rung.INSTALLS or check.fault in sure:
        return None
    return Discount("this miniature has not passed in any release, so its own files may be at fault")


def _unclassified(check: CheckResult, circumstances: Circumstances) -> Discount | None:
    if not circumstances.subject.qualified:
        return Discount("not classified, and this subject has not passed in any release")
    if check.signature not in circumstances.reproduced:
        return Discount("not classified, and not reproduced in a fresh process")
    return None


def _judge_rung(rung: Rung, checks: Iterable[CheckResult], circumstances: Circumstances) -> RungVerdict:
    by_outcome: dict[Outcome, list[CheckResult]] = {outcome: [] for outcome in Outcome}
    for check in checks:
        by_outcome[check.outcome].append(check)
    for outcome, verdict in (
        (Outcome.FAILED, Verdict.FAILED),
        (Outcome.UNKNOWN, Verdict.UNKNOWN),
        (Outcome.NOT_REACHED, Verdict.NOT_MEASURED),
    ):
        if by_outcome[outcome]:
            first = by_outcome[outcome][0]
            reason = reason_for(first, circumstances)
            return RungVerdict(rung, verdict, reason, first.blame, first.fault, first.signature)
    passed, skipped = len(by_outcome[Outcome.PASSED]), by_outcome[Outcome.SKIPPED]
    if passed:
        return RungVerdict(rung, Verdict.PASSED, f"{passed} checks passed" if passed > 1 else "1 check passed")
    if skipped:
        return RungVerdict(rung, Verdict.NOT_APPLICABLE, first_line(skipped[0].message) or "does not apply")
    return RungVerdict(rung, Verdict.NOT_MEASURED, "this suite has no check for it")


def reason_for(check: CheckResult, circumstances: Circumstances) -> str:
    """Return why ``check`` did not pass, as a sentence for people."""
    subject = circumstances.subject
    failed = check.outcome is Outcome.FAILED
    if failed and check.fault == "unknown-architecture" and check.name == "knows.architecture":
        return f"the architecture {subject.architecture} is not registered{_since(circumstances)}"
    message = first_line(check.message)
    if failed and check.fault in ("unknown-architecture", "needs-remote-code") and message:
        return f"{check.name}: {message}{_since(circumstances)}"
    if not message:
        return f"{check.name}: {check.fault or check.outcome}"
    return message if check.outcome is Outcome.NOT_REACHED else f"{check.name}: {message}"


def first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= REASON_CHARS else line[: REASON_CHARS - 1].rstrip() + "…"


def _since(circumstances: Circumstances) -> str:
    """Return since when the architecture is known, in brackets; only transformers' releases are known."""
    subject, version = circumstances.subject, circumstances.version
    if not subject.first_known or circumstances.runtime is not Runtime.TRANSFORMERS:
        return ""
    exact = subject.first_known.removeprefix("<=")
    known = f"{exact} or earlier" if exact != subject.first_known else exact
    release, first = _release_segment(version), _release_segment(exact)
    if release and first and release < first:
        return f" (too old: first known in {known})"
    return f" (first known in {known})"


def _release_segment(version: str) -> tuple[int, ...]:
    """Return the numbers before any pre-release mark, without trailing zeros: enough to say which came first."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    numbers = [int(part) for part in match[1].split(".")] if match else []
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
