"""Turnbull's estimate of the distribution of many cells' times, with intervals by the number of architectures; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from monitor.stability.limits import limits
from monitor.stability.values import MOST_DOUBT_DAYS, Distribution, Quantile, Share, TimeToSupport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Possible: TypeAlias = tuple[int, int | None]  # first and last day, both included; None: not seen yet

HORIZONS = (30, 90, 180)  # days since the release
MOST_UNDECIDED = 0.1  # with more, cells leave the set at risk because they pass, and none seems to be supported
MOST_LATE = 0.5  # with more, the estimate shows when observation began: Turnbull's puts all mass where ranges overlap
FEWEST_ARCHITECTURES = 5  # for intervals; their coverage was simulated from here on
ROUNDING = 1e-6
STEPS = 2000
TOLERANCE = 1e-8  # of every probability
TINY, LONGEST_STEP = 1e-300, 1e4


@dataclass(frozen=True, slots=True)
class Curves:
    """The share supported by the end of each day from 0, each of shape (days,).

    ``first`` and ``last`` are the estimate's with all mass on the first, and on the last day that the data allow; the
    ``most`` that may be supported is the upper limit of ``first`` and the ``least`` the lower one of ``last``, because
    limits of the estimate alone would not show that doubt.
    """

    estimate: Floats
    first: Floats
    last: Floats
    least: Floats | None  # None where there are too few architectures
    most: Floats | None


def distribution(entries: Sequence[TimeToSupport], *, horizons: Sequence[int] = HORIZONS) -> Distribution:
    """Return the distribution of the times of ``entries``, in days since the release; ValueError where there are none.

    The estimate is Turnbull's (1976). The intervals hold 95 percent: of a share they are those of Clopper and Pearson
    (1934) for as many independent architectures as are known on that day, and a quantile's are the days on which these
    reach it. Equal entries, in whatever order, give an equal answer.
    """
    if not entries:
        raise ValueError("a distribution needs at least one entry")
    entries = sorted(entries, key=_order)
    curves = _curves(entries)
    unseen = [entry.first for entry in entries if entry.last is None]
    followed = max(unseen) - 1 if unseen else len(curves.estimate) - 1
    derived = sum(entry.registry_derived for entry in entries)
    undecided = sum(entry.undecided for entry in entries)
    late = sum(entry.last is not None and entry.last - entry.first > MOST_DOUBT_DAYS for entry in entries)
    if undecided > MOST_UNDECIDED * len(entries) or late > MOST_LATE * (len(entries) - len(unseen)):
        empty = np.zeros(0)
        curves, followed, horizons = Curves(empty, empty, empty, None, None), -1, ()
    return Distribution(
        entries=len(entries),
        architectures=len({entry.architecture for entry in entries}),
        exact=sum(entry.first == entry.last for entry in entries),
        not_seen=len(unseen),
        undecided=undecided,
        late=late,
        registry_derived=derived,
        lower_quartile=_quantile(curves, 0.25),
        median=_quantile(curves, 0.5),
        upper_quartile=_quantile(curves, 0.75),
        never=None if derived or followed < 0 else _share(curves, followed),
        not_by=tuple(_share(curves, day) for day in horizons if day <= followed or not unseen),
        curve=tuple(_falls(curves)),
    )


def _order(entry: TimeToSupport) -> tuple[object, ...]:
    return entry.architecture, entry.first, entry.last is None, entry.last or 0, entry.registry_derived


def _curves(entries: Sequence[TimeToSupport]) -> Curves:
    cells = support([(entry.first, entry.last) for entry in entries])
    masses = estimate(cells)
    evenly, first, last = (cells.by_day(masses, within) for within in (Within.EVENLY, Within.FIRST, Within.LAST))
    if len({entry.architecture for entry in entries}) < FEWEST_ARCHITECTURES:
        return Curves(evenly, first, last, None, None)
    counts = independent(entries, len(evenly))
    return Curves(evenly, first, last, limits(last, counts)[0], limits(first, counts)[1])


def independent(entries: Sequence[TimeToSupport], days: int) -> Floats:
    """Return, by day from 0, as how many independent cells those count that are known to be supported or not by then.

    Cells of one architecture count as one, and architectures of unequal size as fewer (Kish 1965): so the limits hold
    however alike the models of an architecture are.
    """
    _, of_entry = np.unique(np.array([entry.architecture for entry in entries]), return_inverse=True)
    firsts = np.array([entry.first for entry in entries], dtype=float)
    lasts = np.array([np.inf if entry.last is None else entry.last for entry in entries])
    day = np.arange(days)[:, None]
    known = (lasts[None, :] <= day) | (firsts[None, :] > day)
    sizes = known.astype(float) @ np.eye(of_entry.max() + 1)[of_entry]
    counts: Floats = sizes.sum(axis=1) ** 2 / np.maximum((sizes**2).sum(axis=1), 1.0)
    return counts


def _quantile(curves: Curves, share: float) -> Quantile:
    if not curves.estimate.size:
        return Quantile(share, None, None, None, earliest=0, latest=None)
    low = high = None
    if curves.least is not None and curves.most is not None:
        low, high = _reached(curves.most, share), _reached(curves.least, share)
        if low is None:
            low = len(curves.most)  # after the last day that the curve is known for, anything is possible
        if high is not None and high == low:
            high += 1  # it happened on that day, and a day is as long as that
    day, earliest, latest = (_reached(curve, share) for curve in (curves.estimate, curves.first, curves.last))
    return Quantile(share, day, low, high, earliest, latest, interval=curves.least is not None)


def _reached(supported: Floats, share: float) -> int | None:
    """Return the first day on which a curve has reached ``share``."""
    reached = supported >= share - ROUNDING
    return int(reached.argmax()) if reached.any() else None


def _share(curves: Curves, day: int) -> Share:
    """Return the share not supported by the end of ``day``; after its last day the curve stays level."""
    at = min(day, len(curves.estimate) - 1)
    low = high = None
    if curves.least is not None and curves.most is not None:
        low, high = _left(curves.most[at]), _left(curves.least[at])
    return Share(day, _left(curves.estimate[at]), low, high, _left(curves.first[at]), _left(curves.last[at]))


def _left(supported: float) -> float:
    return round(min(1.0, max(0.0, 1.0 - float(supported))), 6)


def _falls(curves: Curves) -> Iterator[Share]:
    previous = None
    for day, value in enumerate(curves.estimate):
        if previous is None or value > previous + ROUNDING:
            yield _share(curves, day)
            previous = value


class Within(StrEnum):
    """Where the mass of an interval lies within it; the data do not show that."""

    FIRST = "on its first day"
    EVENLY = "spread evenly over its days"
    LAST = "on its last day"


@dataclass(frozen=True, slots=True)
class Support:
    """Turnbull's innermost intervals (cells): the likelihood cannot place mass any closer.

    ``first`` and ``last`` are days, both included, of shape (cells,). ``inside`` is of shape (intervals, cells), and 1
    where the cell lies within the observed interval.
    """

    first: Floats
    last: Floats  # inf in the cell of events that have not been seen yet
    inside: Floats
    of_entry: NDArray[np.intp]  # (entries,): the row of each entry in ``inside``

    def by_day(self, masses: Floats, within: Within) -> Floats:
        """Return the share supported by the end of each day from 0, of shape (..., days), for masses (..., cells)."""
        ends = self.last[np.isfinite(self.last)]
        days = np.arange(int(max(self.first[-1], ends.max(initial=0))) + 1)
        spread = np.zeros((len(self.first), len(days)))
        for cell, (first, last) in enumerate(zip(self.first, self.last, strict=True)):
            begins, length = {
                Within.FIRST: (first, 1.0),
                Within.EVENLY: (first, last - first + 1),
                Within.LAST: (last, 1.0),
            }[within]
            if np.isfinite(last):
                spread[cell] = np.clip((days - begins + 1) / length, 0, 1)
        return masses @ spread


def support(possible: Sequence[Possible]) -> Support:
    """Return the innermost intervals of ``possible``: each a lower bound that is followed at once by an upper one."""
    bounds = np.array([(first, np.inf if last is None else last) for first, last in possible], dtype=float)
    unique, of_entry = np.unique(bounds, axis=0, return_inverse=True)
    ends = sorted([*((low, 0) for low in unique[:, 0]), *((high, 1) for high in unique[:, 1])])
    first, last = np.array([(a[0], b[0]) for a, b in pairwise(ends) if (a[1], b[1]) == (0, 1)]).T
    inside = (unique[:, :1] <= first) & (last <= unique[:, 1:])
    return Support(first, last, inside.astype(float), of_entry.reshape(-1))


def estimate(cells: Support) -> Floats:
    """Return the mass of every cell, of shape (cells,): Turnbull's (1976) nonparametric maximum likelihood estimate."""
    weights = np.bincount(cells.of_entry, minlength=len(cells.inside)).astype(float)
    evenly = np.full(len(cells.first), 1 / len(cells.first))
    return settled(cells, weights, evenly)


def settled(cells: Support, weights: Floats, start: Floats) -> Floats:
    """Return the masses, of shape (cells,), that Turnbull's self-consistency equations leave unchanged.

    ``weights`` is of shape (intervals,). The steps are extrapolated (Varadhan and Roland 2008): plain expectation and
    maximization takes thousands where intervals overlap.
    """
    inside, total = cells.inside, weights.sum()

    def step(masses: Floats) -> Floats:
        within = np.maximum(inside @ masses, TINY)
        answer: Floats = masses * ((weights / within) @ inside) / total
        return answer

    masses = start
    for _ in range(STEPS):
        once = step(masses)
        twice = step(once)
        if np.abs(twice - once).max() < TOLERANCE:
            return twice
        masses = step(_extrapolated(masses, once, twice))
    return masses


def _extrapolated(masses: Floats, once: Floats, twice: Floats) -> Floats:
    """Return two steps extrapolated; where that would leave the simplex, the second step."""
    change, bend = once - masses, twice - 2 * once + masses
    size = float(np.linalg.norm(bend))
    if size <= TINY:
        return twice
    length = min(LONGEST_STEP, max(1.0, float(np.linalg.norm(change)) / size))
    further = masses + 2 * length * change + length**2 * bend
    return further if further.min() >= 0 else twice
