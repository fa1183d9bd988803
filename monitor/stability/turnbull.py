"""Turnbull's estimator for days that are known between bounds, with its bootstrap; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Possible: TypeAlias = tuple[int, int | None]  # first and last day, both included; None: not seen yet

STEPS = 2000
TOLERANCE, RESAMPLE_TOLERANCE = 1e-8, 1e-4  # of every probability
TINY, LONGEST_STEP = 1e-300, 1e4


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
