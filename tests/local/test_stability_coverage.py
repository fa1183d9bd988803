"""Intervals hold the truth at every size they are printed for; `make bench` has whole histories and more samples."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from monitor.stability.distribution import distribution
from monitor.stability.values import TimeToSupport
from tests.bench.stability import SIZES

if TYPE_CHECKING:
    from numpy.random import Generator

SAMPLES, HELD = 60, 0.93
SUPPORTED, TYPICAL_DAYS, LOOKED_FOR = 0.25, 15, 200  # on day 0, days to support of the others, and days of a history


def times(generator: Generator, architectures: int) -> list[TimeToSupport]:
    """Return the times of one to three models an architecture; one in five is not followed to the end."""
    drawn = []
    for at in range(architectures):
        delay = TYPICAL_DAYS * math.exp(0.8 * generator.standard_normal())
        for _ in range(generator.integers(1, 4)):
            early = generator.random() < SUPPORTED
            day = 0 if early else math.ceil(delay * math.exp(0.5 * generator.standard_normal()))
            until = int(generator.integers(0, LOOKED_FOR)) if generator.random() < 0.2 else LOOKED_FOR
            drawn.append(TimeToSupport(f"{at}", min(day, until + 1), day if day <= until else None))
    return drawn


@cache
def truths() -> tuple[float, float, float]:
    """Return the true median, and the true shares that are not supported by day 0 and by day 30."""
    known = [entry.first for entry in times(np.random.default_rng(1), 20000) if entry.last is not None]
    ordered = np.sort(known)
    return float(ordered[len(ordered) // 2]), float((ordered > 0).mean()), float((ordered > 30).mean())


@pytest.mark.parametrize("size", SIZES)
def test_intervals_hold_the_truth_at_every_size_they_are_printed_for(size: int) -> None:
    generator = np.random.default_rng(size)
    median, at_0, at_30 = truths()
    held: dict[str, int] = {"median": 0, "share 0": 0, "share 30": 0}
    for _ in range(SAMPLES):
        found = distribution(times(generator, size), horizons=(0, 30))
        low, high = found.median.low, found.median.high
        held["median"] += (math.inf if low is None else low) <= median <= (math.inf if high is None else high)
        shares = {share.day: (share.low, share.high) for share in found.not_by}
        for day, truth in ((0, at_0), (30, at_30)):
            least, most = shares.get(day, (None, None))  # a day to which nobody was followed has no interval
            held[f"share {day}"] += (least or 0.0) - 0.005 <= truth <= (1.0 if most is None else most) + 0.005
    assert min(held.values()) >= HELD * SAMPLES, held
