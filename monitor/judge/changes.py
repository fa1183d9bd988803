"""Changed is not broken: an answer that differs from earlier ones, or a check skipped now, gets a note; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.domain import CellVerdict, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from monitor.domain import CheckResult
    from monitor.judge.days import Day

    Likeliest: TypeAlias = Mapping[int, float]  # the likeliest tokens of one position, with their log-probabilities
    Prompt: TypeAlias = tuple[tuple[int, ...], int]  # the ids that were asked, and the first position answered
    Logprobs: TypeAlias = Mapping[Prompt, tuple[Likeliest, ...]]

FACT = "logprobs"
# Five releases of transformers (4.56 to 5.24, one torch) differ by 3e-6, a processor with vector instructions from one
# without by 3e-5 at most over 101 miniatures; a window that a release began to apply is 1.6 apart.
TOLERANCE_NAT = 1e-3


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a subject's files answered on the first day that worked; every later answer is compared with it."""

    day: date
    version: str
    suite: str
    logprobs: Logprobs


@dataclass(frozen=True, slots=True)
class Passed:
    """Where a check passed last with a subject's files; one that is skipped later proves less than it did."""

    day: date
    version: str
    suite: str


@dataclass(frozen=True, slots=True)
class RunAnswers:
    """The answers and checks of the runs of some days, by run."""

    logprobs: Mapping[str, Logprobs]
    checks: Mapping[str, Sequence[CheckResult]]


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier days have left of one subject's files."""

    pinned: Pinned | None = None
    passed: Mapping[str, Passed] = field(default_factory=dict)  # by check


def logprobs_of(value: Any) -> Logprobs | None:
    """Return the fact as a probe records it, None for anything else: it comes out of a container."""
    try:
        logprobs = {
            (tuple(int(token) for token in prompt["ids"]), int(prompt["from"])): tuple(
                {int(token): float(value) for token, value in zip(*position, strict=True)} for position in prompt["top"]
            )
            for prompt in value["prompts"]
        }
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    finite = all(math.isfinite(nats) for rows in logprobs.values() for row in rows for nats in row.values())
    return logprobs if logprobs and finite else None


def distance(here: Logprobs, there: Logprobs) -> float | None:
    """Return by how many nats the answers to equal prompts differ at least, None where no prompt is equal.

    A token that only one side names is, on the other, at most as likely as the least likely token named there.
    """
    distances = [
        _between(left, right)
        for prompt in here.keys() & there.keys()
        if len(here[prompt]) == len(there[prompt])
        for left, right in zip(here[prompt], there[prompt], strict=True)
        if left and right
    ]
    return max(distances, default=None)


def noted(days: Sequence[Day], evidence: RunAnswers, before: Mapping[str, Before] | None = None) -> tuple[Day, ...]:
    """Return the days, in order, with a note on each that works and answers otherwise, or less, than those before it.

    ``before`` is by the digest of the subject's files. No verdict is touched.
    """
    left = dict(before or {})
    done: dict[date, Day] = {}
    for day in days:
        if day.carried_from:
            source = done.get(day.carried_from)  # an earlier one has been noted before
            done[day.day] = replace(day, note=source.note) if source else day
            continue
        before_day = left.get(day.fingerprint.subject, Before())
        checks = evidence.checks.get(day.run_id, ())
        notes = [day.note]
        if day.verdict.verdict is CellVerdict.WORKS:
            logprobs, suite = evidence.logprobs.get(day.run_id), day.fingerprint.suite
            notes += [changed(before_day.pinned, logprobs, suite), skipped(before_day.passed, checks, suite)]
            if before_day.pinned is None and logprobs is not None:
                before_day = replace(before_day, pinned=Pinned(day.day, day.version, suite, logprobs))
        if day.verdict.verdict is not CellVerdict.UNKNOWN:
            before_day = replace(before_day, passed={**before_day.passed, **_passed(day, checks)})
        left[day.fingerprint.subject] = before_day
        done[day.day] = replace(day, note="; ".join(filter(None, notes)))
    return tuple(done.values())


def skipped(passed: Mapping[str, Passed], checks: Sequence[CheckResult], suite: str) -> str:
    """Return the note on checks that are skipped and have passed before: what works then is less than it was."""
    by_last: dict[Passed, list[str]] = {}
    for check in checks:
        if check.outcome is Outcome.SKIPPED and check.name in passed:
            by_last.setdefault(passed[check.name], []).append(check.name)
    return "; ".join(
        f"skipped, and passed last with {last.version} ({last.day}){_by_others(last.suite, suite)}: {', '.join(names)}"
        for last, names in by_last.items()
    )


def changed(pin: Pinned | None, logprobs: Logprobs | None, suite: str) -> str:
    """Return the note on an answer that differs by more than float noise, "" on any other."""
    apart = distance(pin.logprobs, logprobs) if pin and logprobs else None
    if pin is None or apart is None or apart <= TOLERANCE_NAT:
        return ""
    probes = _by_others(pin.suite, suite)
    return f"log-probabilities differ by {apart:.2g} from {pin.version} ({pin.day}){probes}: changed, not broken"


def _by_others(suite_then: str, suite: str) -> str:
    return "" if suite_then == suite else ", and the probes have changed since"


def _passed(day: Day, checks: Sequence[CheckResult]) -> dict[str, Passed]:
    now = Passed(day.day, day.version, day.fingerprint.suite)
    return {check.name: now for check in checks if check.outcome is Outcome.PASSED}


def _between(left: Likeliest, right: Likeliest) -> float:
    both = [abs(left[token] - right[token]) for token in left.keys() & right.keys()]
    floor_left, floor_right = min(left.values()), min(right.values())
    only = [left[token] - floor_right for token in left.keys() - right.keys()]
    only += [right[token] - floor_left for token in right.keys() - left.keys()]
    return max(0.0, *both, *only)
