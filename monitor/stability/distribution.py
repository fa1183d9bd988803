"""From many tracks' intervals to a distribution of days: Turnbull's estimate, architectures resampled; pure."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REPEATS = 200
HORIZONS = (0, 7, 30, 90, 180)  # days after the release
_LOW, _HIGH = 0.025, 0.975


@dataclass(frozen=True, slots=True)
class Entry:
    """One track's time to an event: on a day from ``lower`` to ``upper``, both included, counted from the release.

    ``registry_derived``: the subject was made from this very runtime's registry, so that it could not have been in the
    sample without being supported sooner or later.
    """

    architecture: str
    lower: float
    upper: float  # inf: not by the end of what was observed
    registry_derived: bool = False


@dataclass(frozen=True, slots=True)
class Mass:
    """A share of the distribution that lies somewhere from ``lower`` to ``upper``, in days, both included."""

    lower: float
    upper: float
    share: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """``value`` with its 95 percent interval; in days or as a share. A value that was not reached is ``inf``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long it takes, over all entries. ``not_yet`` is the share that lies beyond every observation."""

    entries: int
    architectures: int
    exact: int
    left_censored: int  # the event had happened when it was first looked at
    interval_censored: int
    right_censored: int
    registry_derived: int
    masses: tuple[Mass, ...]
    median: Estimate
    upper_quartile: Estimate
    not_yet: Estimate
    by_day: tuple[tuple[int, Estimate], ...]  # share that has happened by each horizon

    @property
    def never_is_measurable(self) -> bool:
        """Whether a subject could have been in the sample without ever being supported."""
        return self.registry_derived == 0


def distribution(entries: Iterable[Entry], *, seed: int = 0, repeats: int = REPEATS) -> Distribution | None:
    """Return the distribution over the entries, or None where there are none.

    The estimate is the nonparametric maximum likelihood of Turnbull (J. R. Stat. Soc. B 38, 1976) by ``lifelines``.
    Where its mass lies in an interval, a quantile's value is the latest day that fits, and a share counts only what has
    happened for certain. Intervals are percentiles of a bootstrap that draws whole architectures, because models of one
    architecture share their tooling and are no independent observations (Field and Welsh, J. R. Stat. Soc. B 69, 2007).
    """
    told = tuple(entries)
    if not told:
        return None
    whole = _Shape(estimate(told))
    drawn = [_Shape(estimate(sample)) for sample in resamples(told, seed=seed, repeats=repeats)]
    return Distribution(
        entries=len(told),
        architectures=len({one.architecture for one in told}),
        exact=sum(one.lower == one.upper for one in told),
        left_censored=sum(one.lower == 0 < one.upper < inf for one in told),
        interval_censored=sum(0 < one.lower < one.upper < inf for one in told),
        right_censored=sum(one.upper == inf for one in told),
        registry_derived=sum(one.registry_derived for one in told),
        masses=whole.masses,
        median=_between(whole.quantile(0.5), [(one.quantile(0.5, early=True), one.quantile(0.5)) for one in drawn]),
        upper_quartile=_between(
            whole.quantile(0.75), [(one.quantile(0.75, early=True), one.quantile(0.75)) for one in drawn]
        ),
        not_yet=_between(whole.beyond(), [(one.beyond(), one.beyond()) for one in drawn]),
        by_day=tuple(
            (day, _between(whole.by(day), [(one.by(day), one.by(day, early=True)) for one in drawn]))
            for day in HORIZONS
        ),
    )


def estimate(entries: Sequence[Entry]) -> tuple[Mass, ...]:
    """Return Turnbull's masses, in order of days; they add up to 1."""
    from lifelines.fitters.npmle import npmle

    lower, upper = ([getattr(one, side) for one in entries] for side in ("lower", "upper"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a share of just 1 has no finite log-odds
        shares, intervals = npmle(lower, upper, tol=1e-5)
    found = [
        Mass(float(one.left), float(one.right), float(share)) for one, share in zip(intervals, shares, strict=True)
    ]
    return tuple(sorted((one for one in found if one.share > 0), key=lambda one: (one.lower, one.upper)))


def resamples(entries: Sequence[Entry], *, seed: int, repeats: int) -> Iterable[Sequence[Entry]]:
    """Yield samples of as many architectures, drawn with replacement, each with all its entries."""
    by_architecture: dict[str, list[Entry]] = {}
    for one in entries:
        by_architecture.setdefault(one.architecture, []).append(one)
    names = sorted(by_architecture)
    dice = random.Random(seed)  # noqa: S311 - statistics, not secrets
    for _ in range(repeats):
        yield [one for name in dice.choices(names, k=len(names)) for one in by_architecture[name]]


class _Shape:
    """Reads an estimate; ``early`` places each mass at the first of its days, else at the last."""

    def __init__(self, masses: tuple[Mass, ...]) -> None:
        self.masses = masses

    def quantile(self, share: float, *, early: bool = False) -> float:
        reached = 0.0
        for day, mass in sorted((one.lower if early else one.upper, one.share) for one in self.masses):
            reached += mass
            if reached >= share - 1e-9:
                return day
        return inf

    def by(self, day: float, *, early: bool = False) -> float:
        return sum(one.share for one in self.masses if (one.lower if early else one.upper) <= day)

    def beyond(self) -> float:
        return sum(one.share for one in self.masses if one.upper == inf)


def _between(value: float, drawn: Sequence[tuple[float, float]]) -> Estimate:
    """Return the value between the low percentile of the low ends and the high percentile of the high ends."""
    if not drawn:
        return Estimate(value, value, value)
    lows, highs = (sorted(pair[side] for pair in drawn) for side in (0, 1))
    last = len(drawn) - 1
    return Estimate(value, min(value, lows[round(_LOW * last)]), max(value, highs[round(_HIGH * last)]))
