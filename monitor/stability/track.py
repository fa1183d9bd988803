"""Computes the stabilization of one history of days, by the rule of evidence for runs of passing days; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.stability.values import (
    ESTABLISHED_DAYS,
    STABLE_DAYS,
    DayCounts,
    Epoch,
    Lack,
    Milestone,
    Observation,
    Provisional,
    Setback,
    Span,
    Stabilization,
    Standing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Days = Sequence[Observation]  # in order; valid ones only, except where they are called seen

WINDOWS = (7, 14, 21, 30)  # days, to show how much the choice of the window matters
VALID_OF = 10, 14  # so many days of so many must be valid, in every run whatever its length
LONGEST_GAP = 3  # consecutive days without a valid observation within a run


def stabilization(
    observations: Sequence[Observation],
    *,
    released: date | None,
    through: date,
    created: date | None = None,
    window: int = STABLE_DAYS,
    established: int = ESTABLISHED_DAYS,
) -> Stabilization:
    """Return the stabilization of one cell, or of one rung of it, as of ``through``.

    ``observations`` come in any order, at most one a day (ValueError); days after ``through`` are ignored. The release
    was on a day from ``created`` to ``released``. ``window`` and ``established`` are in days.
    """
    seen = _through(observations, through)
    days = _valid(seen, released)
    works = _works(days)
    stable = milestone(days, window)
    return Stabilization(
        released=released,
        created=created,
        through=through,
        works=works,
        stable=stable,
        established=milestone(days, established),
        provisional=None if stable.met else provisional(days, window),
        setbacks=tuple(_setbacks(_since_prehistory(seen, released), stable)),
        standing=_standing(days, stable),
        lead=max(0, ((created or released) - works.by).days) if released and works.by else None,
        counts=_counts(seen, released, through),
        epochs=tuple(_epochs(days, window)),
    )


def sensitivity(
    observations: Sequence[Observation], *, released: date | None, through: date, windows: Sequence[int] = WINDOWS
) -> dict[int, Milestone]:
    """Return the stable milestone by length of the window, in days; a longer window is never earlier."""
    days = _valid(_through(observations, through), released)
    return {window: milestone(days, window) for window in windows}


def _through(observations: Sequence[Observation], through: date) -> Days:
    seen = sorted((observation for observation in observations if observation.day <= through), key=attrgetter("day"))
    if repeated := [later.day for earlier, later in pairwise(seen) if earlier.day == later.day]:
        raise ValueError(f"more than one observation on {repeated[0]}")
    return seen


def _valid(seen: Days, released: date | None) -> Days:
    """Return the days that decide: prehistory only gives bounds, and support that was lost by the release is none."""
    days = _since_prehistory(seen, released)
    if released is None:
        return days
    since = next((at for at, day in enumerate(days) if day.day >= released), 0)
    return days[since:] if _lost(days[:since], days[since:], released) else days


def _lost(before: Days, after: Days, released: date) -> bool:
    """Return whether support of the days ``before`` the release did not last to it.

    Days without an observation across the release bridge it only as they bridge a run, and only where it works again.
    """
    if not before or not after or after[0].verdict is CellVerdict.WORKS:
        return False
    bridged = released < after[0].day and (after[0].day - before[-1].day).days - 1 <= LONGEST_GAP
    return not bridged or all(day.verdict is not CellVerdict.WORKS for day in after)


def _since_prehistory(seen: Days, released: date | None) -> Days:
    """Return the valid days since the last non-passing day before the release."""
    days = [observation for observation in seen if observation.verdict is not CellVerdict.UNKNOWN]
    if released is None:
        return days
    failing = [at for at, day in enumerate(days) if day.day < released and day.verdict is not CellVerdict.WORKS]
    return days[failing[-1] :] if failing else days


def _works(days: Days) -> Span:
    if first := streaks(days)[:1]:
        return Span(first[0].after, first[0].passes[0].day)
    return Span(days[-1].day if days else None, None)


def _setbacks(days: Days, stable: Milestone) -> Iterator[Setback]:
    """Yield every failure after a passing day, each from its first broken day to the next passing one."""
    first = next((at for at, day in enumerate(days) if day.verdict is CellVerdict.WORKS), len(days))
    spells = [tuple(spell) for _, spell in groupby(days[first:], key=lambda day: day.verdict is CellVerdict.WORKS)]
    for good, failing, restored in zip(spells[::2], spells[1::2], [*spells[2::2], ()], strict=False):
        broken = [at for at, day in enumerate(failing) if day.verdict is CellVerdict.BROKEN]
        if broken:
            spell = failing[broken[0] :]
            before = (good[-1], *failing)[broken[0]].day
            regression = stable.proven is not None and spell[0].day > stable.proven
            yield _setback(good[-1], before, spell, restored[0] if restored else None, regression=regression)


def _setback(
    good: Observation, before: date, failing: Days, restored: Observation | None, *, regression: bool
) -> Setback:
    """Return a setback; ``before`` is the last valid day that was not broken."""
    first, last = failing[0], failing[-1]
    return Setback(
        regression=regression,
        began=Span(before, first.day),
        last_good=good.version,
        first_bad=first.version,
        ended=Span(last.day, restored.day if restored else None),
        restored_in=restored.version if restored else "",
        least_days=(last.day - first.day).days + 1,
        most_days=(restored.day - before).days - 1 if restored else None,
    )


def _standing(days: Days, stable: Milestone) -> Standing:
    if not days:
        return Standing.UNKNOWN
    match days[-1].verdict:
        case CellVerdict.WORKS:
            return Standing.STABLE if stable.met else Standing.PROVISIONAL
        case CellVerdict.FLAKY:
            return Standing.FLAKY
        case _:
            return Standing.REGRESSED if stable.met else Standing.BROKEN


def _counts(seen: Days, released: date | None, through: date) -> DayCounts:
    first = released or (seen[0].day if seen else through + timedelta(days=1))
    counted = [observation for observation in seen if observation.day >= first]
    verdicts = [observation.verdict for observation in counted]
    return DayCounts(
        works=verdicts.count(CellVerdict.WORKS),
        broken=verdicts.count(CellVerdict.BROKEN),
        flaky=verdicts.count(CellVerdict.FLAKY),
        unknown=verdicts.count(CellVerdict.UNKNOWN),
        missing=max(0, (through - first).days + 1 - len(counted)),
        carried=sum(day.carried and day.verdict is not CellVerdict.UNKNOWN for day in counted),
    )


def _epochs(days: Days, window: int) -> Iterator[Epoch]:
    for id_, group in groupby(days, key=attrgetter("epoch")):
        epoch_days = list(group)
        yield Epoch(id_, epoch_days[0].day, epoch_days[-1].day, _works(epoch_days), milestone(epoch_days, window))


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
