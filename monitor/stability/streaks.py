"""The rule of evidence: which run of passing days proves lasting support; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.stability.values import Lack, Milestone, Provisional, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from monitor.stability.values import Observation

    Days = Sequence[Observation]  # valid ones, in order

VALID_OF = 10, 14  # so many days of so many must be valid, in every run whatever its length
LONGEST_GAP = 3  # consecutive days without a valid observation within a run


@dataclass(frozen=True, slots=True)
class Streak:
    """Passing days with no other valid day between them."""

    after: date | None  # the last valid day before it, which did not pass
    passes: Days
    until: date | None  # the valid day that ended it; None: it goes on


def streaks(days: Days) -> tuple[Streak, ...]:
    ended: list[Streak] = []
    after: date | None = None
    passes: list[Observation] = []
    for observation in days:
        if observation.verdict is CellVerdict.WORKS:
            passes.append(observation)
            continue
        if passes:
            ended.append(Streak(after, tuple(passes), observation.day))
        after, passes = observation.day, []
    return (*ended, Streak(after, tuple(passes), None)) if passes else tuple(ended)


def milestone(days: Days, window: int) -> Milestone:
    """Return when the first run began that lasted at least ``window`` days and met the rule.

    A run that met it began after the last non-passing day before it. Where too few days of an earlier run were observed
    to refuse it, the beginning may also lie after the last non-passing day before that earlier run.
    """
    not_refused: list[Streak] = []
    for streak in streaks(days):
        proof = _proof(streak, window)
        if proof is not None:
            first, proven = proof
            return Milestone(window, Span((not_refused or [streak])[0].after, first), proven, _decided(days, window))
        if _may_have_lasted(streak, window):
            not_refused.append(streak)
    failing = [observation.day for observation in days if observation.verdict is not CellVerdict.WORKS]
    after = not_refused[0].after if not_refused else max(failing, default=None)
    return Milestone(window, Span(after, None), None, _decided(days, window))


def provisional(days: Days, window: int) -> Provisional | None:
    """Return the run that goes on at the end of ``days``, with the conditions of stability it does not meet yet."""
    last = streaks(days)[-1:]
    if not last or last[0].until is not None:
        return None
    run = list(_without_gaps(last[0].passes))[-1]
    length = (run[-1].day - run[0].day).days + 1
    lacks = {
        Lack.DAYS: length < window,
        Lack.VALID_DAYS: not _dense(len(run), length),
        Lack.CHANGE: not any(map(_differ, run, run[1:])),
    }
    return Provisional(
        Span(last[0].after, run[0].day), length, len(run), tuple(lack for lack, lacking in lacks.items() if lacking)
    )


def _proof(streak: Streak, window: int, *, with_change: bool = True) -> tuple[date, date] | None:
    """Return the first day of the first run in ``streak`` that meets the rule, and the day on which it did."""
    for run in _without_gaps(streak.passes):
        changes = list(accumulate(map(_differ, run, run[1:]), initial=0))
        if (run[-1].day - run[0].day).days + 1 < window or (with_change and changes[-1] == 0):
            continue
        for begin, first in enumerate(run):
            for end in range(begin, len(run)):
                length = (run[end].day - first.day).days + 1
                changed = changes[end] > changes[begin] or not with_change
                if length >= window and changed and _dense(end - begin + 1, length):
                    return first.day, run[end].day
    return None


def _may_have_lasted(streak: Streak, window: int) -> bool:
    """Return whether a run in ``streak`` may have met the rule on days that were not observed."""
    if streak.until is None or streak.after is None:
        return True  # it goes on, or may have begun long before its first observed day
    frozen = _proof(streak, window, with_change=False) is not None  # well observed: only the change is lacking
    return (streak.until - streak.after).days - 1 >= window and not frozen


def _decided(days: Days, window: int) -> date | None:
    """Return the last day on which a run could begin, go on through the last of ``days``, and meet the rule by then.

    It depends on the observed days, releases and pins, never on verdicts.
    """
    changes = [earlier.day for earlier, later in pairwise(days) if _differ(earlier, later)]
    return min(changes[-1], days[-1].day - timedelta(days=window - 1)) if changes else None


def _without_gaps(passes: Days) -> Iterator[Days]:
    begin = 0
    for at, (earlier, later) in enumerate(pairwise(passes), 1):
        if (later.day - earlier.day).days - 1 > LONGEST_GAP:
            yield passes[begin:at]
            begin = at
    yield passes[begin:]


def _dense(valid: int, length: int) -> bool:
    least, of = VALID_OF
    return valid * of >= least * length


def _differ(earlier: Observation, later: Observation) -> bool:
    return (earlier.version, earlier.pins) != (later.version, later.pins)
