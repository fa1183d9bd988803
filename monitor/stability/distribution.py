"""From the times of many cells to their distribution, with intervals from resampled architectures; pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from monitor.stability.figures import Distribution, Quantile, Share
from monitor.stability.turnbull import estimate, resampled, support

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.stability.figures import Axis, Entry
    from monitor.stability.turnbull import Floats

HORIZONS = (30, 90, 180)  # days since the release
RESAMPLES = 400
FEWEST_ARCHITECTURES = 5  # with fewer, resampling them says nothing
WITHIN = 0.025, 0.975
ROUNDING = 1e-6


def distributions(entries: Sequence[Entry], axis: Axis, *, seed: int) -> dict[str, Distribution]:
    """Return the distribution of every group of ``entries`` along ``axis``, by the group's name."""

    def group_of(entry: Entry) -> str:
        name: str = getattr(entry, axis.value)
        return name

    groups = groupby(sorted(entries, key=group_of), key=group_of)
    return {name: distribution(list(group), seed=seed) for name, group in groups}


def distribution(
    entries: Sequence[Entry], *, seed: int, horizons: Sequence[int] = HORIZONS, resamples: int = RESAMPLES
) -> Distribution:
    """Return the distribution of the times of ``entries``, in days since the release; ValueError where there are none.

    The estimate is Turnbull's (1976); intervals are the 2.5th to 97.5th percentiles over ``resamples`` samples of whole
    architectures. Equal entries, in whatever order, and an equal ``seed`` give an equal answer.
    """
    if not entries:
        raise ValueError("there is no distribution of nothing")
    entries = sorted(entries, key=_order)
    supported, samples = _curves(entries, seed=seed, resamples=resamples)
    unseen = [entry.first for entry in entries if entry.last is None]
    followed = max(unseen) - 1 if unseen else len(supported) - 1
    derived = sum(entry.registry_derived for entry in entries)
    return Distribution(
        entries=len(entries),
        architectures=len({entry.architecture for entry in entries}),
        exact=sum(entry.first == entry.last for entry in entries),
        not_seen=len(unseen),
        registry_derived=derived,
        lower_quartile=_quantile(supported, samples, 0.25),
        median=_quantile(supported, samples, 0.5),
        upper_quartile=_quantile(supported, samples, 0.75),
        never=None if derived or followed < 0 else _share(supported, samples, followed),
        not_by=tuple(_share(supported, samples, day) for day in horizons if day <= followed or not unseen),
        curve=tuple(_falls(supported, samples)),
    )


def _order(entry: Entry) -> tuple[object, ...]:
    return entry.architecture, entry.first, entry.last is None, entry.last or 0, entry.registry_derived


def _curves(entries: Sequence[Entry], *, seed: int, resamples: int) -> tuple[Floats, Floats | None]:
    """Return the share supported by each day, of shape (days,), and that of each sample, (resamples, days)."""
    possible = [(entry.first, entry.last) for entry in entries]
    cells = support(possible)
    masses = estimate(possible, cells)
    architectures = [entry.architecture for entry in entries]
    if len(set(architectures)) < FEWEST_ARCHITECTURES:
        return cells.by_day(masses), None
    samples = resampled(cells, masses, architectures, resamples=resamples, seed=seed)
    return cells.by_day(masses), cells.by_day(samples)


def _quantile(supported: Floats, samples: Floats | None, share: float) -> Quantile:
    low = high = None
    if samples is not None:
        reached = np.sort(_reached(samples, share))  # inf where a sample does not get there
        low, high = (_day(np.quantile(reached, at, method="inverted_cdf")) for at in WITHIN)
    return Quantile(share, _day(_reached(supported[None, :], share)[0]), low, high)


def _reached(supported: Floats, share: float) -> Floats:
    """Return the first day on which each of the curves, of shape (curves, days), has reached ``share``; inf: none."""
    there = supported >= share - ROUNDING
    days: Floats = np.where(there.any(axis=1), there.argmax(axis=1), np.inf)
    return days


def _day(day: float) -> int | None:
    return int(day) if np.isfinite(day) else None


def _share(supported: Floats, samples: Floats | None, day: int) -> Share:
    """Return the share not supported by the end of ``day``; after the last day of the curve nothing falls."""
    at = min(day, len(supported) - 1)
    if samples is None:
        return Share(day, _left(supported[at]), None, None)
    high, low = np.quantile(samples[:, at], WITHIN)
    return Share(day, _left(supported[at]), _left(low), _left(high))


def _left(supported: float) -> float:
    return round(min(1.0, max(0.0, 1.0 - float(supported))), 6)


def _falls(supported: Floats, samples: Floats | None) -> Iterator[Share]:
    previous = None
    for day, value in enumerate(supported):
        if previous is None or value > previous + ROUNDING:
            yield _share(supported, samples, day)
            previous = value
