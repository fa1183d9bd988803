"""From one track's days to its stabilization, by the rules of docs/definitions.md; pure."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from monitor.stability.words import Observation, Setback, Span, Stabilization, Standing
from monitor.words import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STABLE_DAYS = 14
ESTABLISHED_DAYS = 30
LONGEST_GAP = 3  # days without a valid observation, in a row
MISSING = (
    4  # in 14 days, and in proportion beyond; fewer days may miss as many, or a longer window could be met earlier
)
MISSING_OF = 14


def stabilization(
    observations: Iterable[Observation],
    *,
    released: date | None,
    through: date,
    window: int = STABLE_DAYS,
    established: int = ESTABLISHED_DAYS,
) -> Stabilization:
    """Return when the track first works, since when it is stable and established, and every setback.

    ``observations`` are at most one a day, in any order; those after ``through`` are left out. ``window`` and
    ``established`` are in days.
    """
    history = sorted((one for one in observations if one.day <= through), key=lambda one: one.day)
    valid = since_release([one for one in history if one.valid], released)
    stable = lasting(valid, window)
    return Stabilization(
        released=released,
        through=through,
        observed=valid[-1].day if valid else None,
        works=_first_works(valid),
        stable=stable,
        established=lasting(valid, established),
        provisional_since=_provisional_since(valid, window),
        standing=_standing(valid, stable, window),
        setbacks=tuple(_setbacks(valid, stable, released)),
        epochs=_epochs(history),
        valid_days=len(valid),
        carried_days=sum(one.carried for one in valid),
    )


def lasting(valid: Sequence[Observation], window: int) -> Span:
    """Return when the first run of passing days began that lasted ``window`` days and met a change.

    Without one it is right-censored at the last day that did not pass: a younger run may still become it.
    """
    for streak in streaks(valid):
        start = next((place for place in range(len(streak)) if _lasts(streak[place:], window)), None)
        if start is not None:
            return Span(after=_last_failing(valid, before=streak[0].day), by=streak[start].day)
    return Span(after=_last_failing(valid))


def streaks(valid: Sequence[Observation]) -> list[list[Observation]]:
    """Return the runs of passing observations that no valid one interrupts; missing days interrupt nothing."""
    runs: list[list[Observation]] = [[]]
    for one in valid:
        if one.works:
            runs[-1].append(one)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def since_release(valid: Sequence[Observation], released: date | None) -> list[Observation]:
    """Leave out the prehistory, but for what bounds the days after it.

    Kept are the run of passing days that goes on at the release, which is support that came first, and the last failing
    day before that run or before the release. What broke and was mended before anybody had the model is nobody's loss.
    """
    if released is None:
        return list(valid)
    first = next((place for place, one in enumerate(valid) if one.day >= released), len(valid))
    while first and valid[first - 1].works:
        first -= 1
    return list(valid[max(0, first - 1) :])


def _lasts(run: Sequence[Observation], window: int) -> bool:
    """Tell whether the run is dense for ``window`` days from its first, and goes on densely to a change.

    A frozen lock proves nothing about keeping to work: it takes one new release, or one change of a pin that the probe
    imports, that passes too.
    """
    first = before = run[0]
    end = first.day + timedelta(days=window - 1)
    changed = False
    for seen, one in enumerate(run, start=1):
        days = (one.day - first.day).days + 1
        if (one.day - before.day).days - 1 > LONGEST_GAP or days - seen > max(MISSING, MISSING * days // MISSING_OF):
            return False
        changed = changed or (one.version, one.pins) != (first.version, first.pins)
        if one.day >= end and changed:
            return True
        before = one
    return False


def _first_works(valid: Sequence[Observation]) -> Span:
    first = next((one for one in valid if one.works), None)
    if first is None:
        return Span(after=_last_failing(valid))
    return Span(after=_last_failing(valid, before=first.day), by=first.day)


def _last_failing(valid: Sequence[Observation], *, before: date = date.max) -> date | None:
    return max((one.day for one in valid if not one.works and one.day < before), default=None)


def _trailing(valid: Sequence[Observation]) -> list[Observation]:
    return streaks(valid)[-1] if valid and valid[-1].works else []


def _provisional_since(valid: Sequence[Observation], window: int) -> date | None:
    run = _trailing(valid)
    return run[0].day if run and not _any_lasts(run, window) else None


def _any_lasts(run: Sequence[Observation], window: int) -> bool:
    return any(_lasts(run[place:], window) for place in range(len(run)))


def _standing(valid: Sequence[Observation], stable: Span, window: int) -> Standing:
    if not valid:
        return Standing.UNKNOWN
    match valid[-1].verdict:
        case CellVerdict.WORKS:
            return Standing.STABLE if _any_lasts(_trailing(valid), window) else Standing.PROVISIONAL
        case CellVerdict.FLAKY:
            return Standing.FLAKY
        case _:
            return Standing.REGRESSED if stable.happened else Standing.BROKEN


def _setbacks(valid: Sequence[Observation], stable: Span, released: date | None) -> Iterator[Setback]:
    """Yield each time that passing days were followed by a broken one, oldest first."""
    good: Observation | None = None
    for place, one in enumerate(valid):
        if one.works:
            good = one
        if one.verdict is not CellVerdict.BROKEN or good is None:
            continue
        if released is None or one.day >= released:
            yield _setback(good, valid[place:], stable)
        good = None


def _setback(good: Observation, then: Sequence[Observation], stable: Span) -> Setback:
    first = then[0]
    mended = next((one for one in then if one.works), None)
    return Setback(
        began=Span(after=good.day, by=first.day),
        ended=Span(
            after=_last_failing(then, before=mended.day if mended else date.max), by=mended.day if mended else None
        ),
        last_good=good.version,
        first_bad=first.version,
        fixed_by=mended.version if mended else "",
        regression=stable.by is not None and first.day > stable.by,
    )


def _epochs(history: Sequence[Observation]) -> tuple[tuple[str, date], ...]:
    begun: list[tuple[str, date]] = []
    for one in history:
        if one.epoch and (not begun or begun[-1][0] != one.epoch):
            begun.append((one.epoch, one.day))
    return tuple(begun)
