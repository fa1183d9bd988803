"""From the verdicts of several runs with one fingerprint to one: rungs on which they disagree are flaky; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import Rung, RungVerdict, RunVerdict, Verdict
from monitor.judge.verdict import at_the_bar

if TYPE_CHECKING:
    from collections.abc import Sequence


def merge(verdicts: Sequence[RunVerdict], bar: Sequence[Rung]) -> RunVerdict:
    """Return the verdict of several runs with the same fingerprint; rungs on which they disagree are flaky."""
    rungs = sorted({rung.rung for verdict in verdicts for rung in verdict.rungs} | set(bar))
    return at_the_bar(tuple(_merge_rung(rung, verdicts) for rung in rungs), bar)


_BY_WEIGHT = (
    Verdict.FAILED,
    Verdict.FLAKY,
    Verdict.PASSED,
    Verdict.UNKNOWN,
    Verdict.NOT_MEASURED,
    Verdict.NOT_APPLICABLE,
)


def _merge_rung(rung: Rung, verdicts: Sequence[RunVerdict]) -> RungVerdict:
    judged = [verdict for run in verdicts for verdict in run.rungs if verdict.rung is rung]
    judged.sort(key=lambda verdict: _BY_WEIGHT.index(verdict.verdict))
    if not judged:
        return RungVerdict(rung, Verdict.NOT_MEASURED, "this suite has no check for it")
    first = judged[0]
    passes = sum(verdict.verdict is Verdict.PASSED for verdict in judged)
    if first.verdict is Verdict.FAILED and passes:
        failures = sum(verdict.verdict is Verdict.FAILED for verdict in judged)
        return replace(
            first, verdict=Verdict.FLAKY, reason=f"failed in {failures} of {failures + passes} runs: {first.reason}"
        )
    return first
