"""Computes the stabilization of one history of days; pure."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.stability.streaks import milestone, provisional, streaks
from monitor.stability.values import (
    ESTABLISHED_DAYS,
    STABLE_DAYS,
    DayCounts,
    Epoch,
    Setback,
    Span,
    Stabilization,
    Standing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from monitor.stability.streaks import Days
    from monitor.stability.values import Milestone, Observation

WINDOWS = (7, 14, 21, 30)  # days, to show how much the choice of the window matters


def stabilization(
    observations: Sequence[Observation],
    *,
    released: date | None,
    through: date,
    window: int = STABLE_DAYS,
    established: int = ESTABLISHED_DAYS,
) -> Stabilization:
    """Return the stabilization of one cell, or of one rung of it, as of ``through``.

    ``observations`` come in any order, at most one a day (ValueError); days after ``through`` are ignored.
    ``window`` and ``established`` are in days.
    """
    seen = _through(observations, through)
    days = _valid(seen, released)
    works = _works(days)
    stable = milestone(days, window)
    return Stabilization(
        released=released,
        through=through,
        works=works,
        stable=stable,
        established=milestone(days, established),
        provisional=None if stable.met else provisional(days, window),
        setbacks=tuple(_setbacks(days, stable)),
        standing=_standing(days, stable),
        lead=max(0, (released - works.by).days) if released and works.by else None,
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
    """Return the valid days since the last non-passing day before the release: prehistory only gives bounds."""
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
