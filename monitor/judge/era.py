"""A past release that meets a package from after its day: what only the newer package refuses is our doing; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from monitor.domain import Outcome
from monitor.judge.checks import fault_result

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from monitor.domain import CheckResult

# what a package has stopped taking, in the words of its refusal: its users of that day never met it
REFUSALS: Mapping[str, re.Pattern[str]] = {
    "torch": re.compile(r"masked_fill_? only supports boolean masks"),
}


def of_its_day(checks: Iterable[CheckResult], later: Collection[str]) -> tuple[CheckResult, ...]:
    """Return the checks with every failure that one of the ``later`` packages explains as an unknown of ours."""
    return tuple(_excused(check, later) for check in checks)


def _excused(check: CheckResult, later: Collection[str]) -> CheckResult:
    if check.outcome is not Outcome.FAILED:
        return check
    for package, refusal in REFUSALS.items():
        if package in later and refusal.search(check.message):
            why = f"{check.message} ({package} is from after this day, and refuses what it took then)"
            return fault_result(check.name, "infra-recipe", why, seconds=check.seconds, evidence=check.evidence)
    return check
