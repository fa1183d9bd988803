"""Turnbull's estimate of the distribution of many cells' times, with intervals from resampled architectures; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from monitor.stability.values import MOST_DOUBT_DAYS, Distribution, Quantile, Share, TimeToSupport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Possible: TypeAlias = tuple[int, int | None]  # first and last day, both included; None: not seen yet

HORIZONS = (30, 90, 180)  # days since the release
RESAMPLES = 400
MOST_UNDECIDED = 0.1  # with more, cells leave the set at risk because they pass, and none seems to be supported
MOST_LATE = 0.5  # with more, the estimate shows when observation began: Turnbull's puts all mass where ranges overlap
FEWEST_ARCHITECTURES = 5  # to resample
LOW, HIGH = 0.025, 0.975
ROUNDING = 1e-6
STEPS = 2000
TOLERANCE, RESAMPLE_TOLERANCE = 1e-8, 1e-4  # of every probability
TINY, LONGEST_STEP = 1e-300, 1e4


@dataclass(frozen=True, slots=True)
class Curves:
    """The share supported by the end of each day from 0: the estimate's, of shape (days,), and the samples'.

    ``first`` and ``last`` are the estimate's with all mass on the first, and on the last day that the data allow.
    ``early`` and ``late`` are of shape (samples, days), with the mass on the first and on the last possible day:
    resampling alone does not show that doubt, and its intervals would be too short.
    """

    estimate: Floats
    first: Floats
    last: Floats
    early: Floats | None  # None where there are too few architectures
    late: Floats | None


def distribution(
    entries: Sequence[TimeToSupport], *, seed: int, horizons: Sequence[int] = HORIZONS, resamples: int = RESAMPLES
) -> Distribution:
    """Return the distribution of the times of ``entries``, in days since the release; ValueError where there are none.

    The estimate is Turnbull's (1976); intervals are the 2.5th to 97.5th percentiles over ``resamples`` samples of whole
    architectures, the bounds taken where the data place the days of a sample earliest and latest. Equal entries, in
    whatever order, and an equal ``seed`` give an equal answer.
    """
    if not entries:
        raise ValueError("a distribution needs at least one entry")
    entries = sorted(entries, key=_order)
    curves = _curves(entries, seed=seed, resamples=resamples)
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


def _curves(entries: Sequence[TimeToSupport], *, seed: int, resamples: int) -> Curves:
    cells = support([(entry.first, entry.last) for entry in entries])
    masses = estimate(cells)
    evenly, first, last = (cells.by_day(masses, within) for within in (Within.EVENLY, Within.FIRST, Within.LAST))
    architectures = [entry.architecture for entry in entries]
    if len(set(architectures)) < FEWEST_ARCHITECTURES:
        return Curves(evenly, first, last, None, None)
    samples = resampled(cells, masses, architectures, resamples=resamples, seed=seed)
    return Curves(evenly, first, last, cells.by_day(samples, Within.FIRST), cells.by_day(samples, Within.LAST))


def _quantile(curves: Curves, share: float) -> Quantile:
    if not curves.estimate.size:
        return Quantile(share, None, None, None, earliest=0, latest=None)
    low = high = None
    if curves.early is not None and curves.late is not None:
        low = _day(np.quantile(_reached(curves.early, share), LOW, method="inverted_cdf"))
        high = _day(np.quantile(_reached(curves.late, share), HIGH, method="inverted_cdf"))
    day, earliest, latest = (
        _day(_reached(curve[None, :], share)[0]) for curve in (curves.estimate, curves.first, curves.last)
    )
    return Quantile(share, day, low, high, earliest, latest)


def _reached(supported: Floats, share: float) -> Floats:
    """Return the first day on which each curve, of shape (curves, days), has reached ``share``; inf where none has."""
    if not supported.size:
        return np.full(len(supported), np.inf)
    reached = supported >= share - ROUNDING
    days: Floats = np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)
    return days


def _day(day: float) -> int | None:
    return int(day) if np.isfinite(day) else None


def _share(curves: Curves, day: int) -> Share:
    """Return the share not supported by the end of ``day``; after its last day the curve stays level."""
    at = min(day, len(curves.estimate) - 1)
    low = high = None
    if curves.early is not None and curves.late is not None:
        low = _left(np.quantile(curves.early[:, at], HIGH))
        high = _left(np.quantile(curves.late[:, at], LOW))
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
    masses: Floats = settled(cells, weights[None, :], evenly, tolerance=TOLERANCE)[0]
    return masses


def resampled(cells: Support, estimated: Floats, clusters: Sequence[str], *, resamples: int, seed: int) -> Floats:
    """Return the estimates of bootstrap samples, of shape (resamples, cells).

    Whole clusters are drawn with replacement, as many as there are; ``clusters`` names each entry's.
    """
    names, of_entry = np.unique(np.array(clusters), return_inverse=True)
    membership = np.zeros((len(names), len(cells.inside)))
    np.add.at(membership, (of_entry, cells.of_entry), 1)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return settled(cells, drawn @ membership, estimated, tolerance=RESAMPLE_TOLERANCE)


def settled(cells: Support, weights: Floats, start: Floats, *, tolerance: float) -> Floats:
    """Return the masses, of shape (samples, cells), that Turnbull's self-consistency equations leave unchanged.

    ``weights`` is of shape (samples, intervals). The steps are extrapolated (Varadhan and Roland 2008): plain
    expectation and maximization takes thousands where intervals overlap.
    """
    inside, total = cells.inside, weights.sum(axis=1, keepdims=True)

    def step(masses: Floats) -> Floats:
        within = np.maximum(masses @ inside.T, TINY)
        answer: Floats = masses * ((weights / within) @ inside) / total
        return answer

    cell_count = inside.shape[1]
    masses = np.tile(0.9 * np.clip(start, 0, None) + 0.1 / cell_count, (len(weights), 1))
    masses /= masses.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        once = step(masses)
        twice = step(once)
        if np.abs(twice - once).max() < tolerance:
            return twice
        masses = step(_extrapolated(masses, once, twice))
    return masses


def _extrapolated(masses: Floats, once: Floats, twice: Floats) -> Floats:
    """Return two steps extrapolated; a sample that would leave the simplex stays at its second step."""
    change, bend = once - masses, twice - 2 * once + masses
    size = np.linalg.norm(bend, axis=1, keepdims=True)
    length = np.clip(np.linalg.norm(change, axis=1, keepdims=True) / np.maximum(size, TINY), 1, LONGEST_STEP)
    further = masses + 2 * length * change + length**2 * bend
    allowed = (size > TINY) & (further.min(axis=1, keepdims=True) >= 0)
    return np.where(allowed, further, twice)
