"""Confidence limits of a share that some independent observations give: those of Clopper and Pearson (1934); pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

TAIL = 0.025  # left out on either side
_HALVINGS = 26  # the limits are right to far less than a percent
_TERMS = 300
_TINY, _CONVERGED = 1e-300, 1e-9


def limits(shares: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the upper limit of each share among ``counts`` observations, which need not be whole.

    The lower limit is the 2.5th percentile of Beta(x, n - x + 1), the upper one the 97.5th of Beta(x + 1, n - x), for
    x of n; with no observation they are 0 and 1.
    """
    pairs, of_day = np.unique(np.stack([np.clip(shares, 0.0, 1.0), counts]), axis=1, return_inverse=True)
    of_day = of_day.reshape(-1)
    share, count = pairs[0], np.maximum(pairs[1], _TINY)
    events, left = share * count, count - share * count
    # both limits at once: each step costs as much for two arrays as for one
    firsts = np.concatenate([np.maximum(events, _TINY), events + 1])
    seconds = np.concatenate([left + 1, np.maximum(left, _TINY)])
    lower, upper = np.split(_beta_quantiles(np.repeat([TAIL, 1 - TAIL], len(share)), firsts, seconds), 2)
    lower, upper = np.where(events > 0, lower, 0.0), np.where(left > 0, upper, 1.0)
    return np.minimum(lower, share)[of_day], np.maximum(upper, share)[of_day]


def _beta_quantiles(probabilities: Floats, a: Floats, b: Floats) -> Floats:
    gamma = np.vectorize(math.lgamma, otypes=[float])
    log_beta = gamma(a) + gamma(b) - gamma(a + b)
    low, high = np.zeros_like(a), np.ones_like(a)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _beta_cdf(middle, a, b, log_beta) < probabilities
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    answer: Floats = (low + high) / 2
    return answer


def _beta_cdf(x: Floats, a: Floats, b: Floats, log_beta: Floats) -> Floats:
    """Return the regularised incomplete beta function, by its continued fraction where that converges fast."""
    swap = x > (a + 1) / (a + b + 2)
    a, b, x = np.where(swap, b, a), np.where(swap, a, b), np.where(swap, 1 - x, x)
    front = np.exp(a * np.log(x) + b * np.log1p(-x) - log_beta) / a
    value = np.clip(front * _continued_fraction(x, a, b), 0.0, 1.0)
    answer: Floats = np.where(swap, 1 - value, value)
    return answer


def _continued_fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """Evaluate it by the method of Lentz."""
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value = value * c * d
        if np.abs(c * d - 1).max() < _CONVERGED:
            break
    return value


def _away_from_zero(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)
