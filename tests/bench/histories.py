"""Simulated histories whose truth is known, and what a daemon that looks daily or weekly gets to see of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.stability.values import STABLE_DAYS, Observation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator

RELEASED = date(2026, 1, 1)
BEFORE, HORIZON = 30, 200  # days of prehistory, and days that the truth is known for
CHANGE_EVERY = 7  # days between two releases or changes of pins, on average
EARLY, NEVER = 0.25, 0.1  # shares of cells: supported before the release, never supported
TYPICAL_DELAY, ACROSS, WITHIN = 15, 0.8, 0.5  # days; spread of its logarithm across and within architectures
BREAKS, MENDS = 0.12, 0.6  # chance that a change breaks what works, and that one mends what is broken
REPLAYED = 10  # days before the release that are looked at
LATE, LATEST = 0.3, 10  # share of cells that are first looked at after the release, and by which day


@dataclass(frozen=True, slots=True)
class World:
    """One cell's days from ``-BEFORE`` through ``HORIZON``, every one known; the version names the lock."""

    architecture: str
    days: tuple[Observation, ...]

    @property
    def works(self) -> float:
        first = (at for at, one in enumerate(self.days) if one.verdict is CellVerdict.WORKS)
        return next((max(0, at - BEFORE) for at in first), math.inf)

    @property
    def stable(self) -> float:
        """Return the day by the definition alone: the first whole run that is long enough and has a change inside."""
        begin = None
        for at, one in enumerate((*self.days, None)):
            if one is not None and one.verdict is CellVerdict.WORKS:
                begin = at if begin is None else begin
                continue
            run = self.days[at if begin is None else begin : at]
            if len(run) >= STABLE_DAYS and len({day.version for day in run}) > 1:
                return max(0, at - len(run) - BEFORE)
            begin = None
        return math.inf


@dataclass(frozen=True, slots=True)
class Looking:
    """How a daemon looks: every so many days, missing some of them, with or without carried days between."""

    every: int = 1
    missing: float = 0.0
    carries: bool = False

    def __str__(self) -> str:
        often = "daily" if self.every == 1 else f"every {self.every} days"
        return f"{often}, carried between" if self.carries else often


def worlds(generator: Generator, *, architectures: int, flakes: float) -> dict[str, list[World]]:
    """Return so many architectures' cells, one to three each; working days are flaky by the chance ``flakes``."""
    found = {}
    for at in range(architectures):
        delay = TYPICAL_DELAY * math.exp(ACROSS * generator.standard_normal())
        found[f"{at}"] = [_world(generator, f"{at}", delay, flakes) for _ in range(generator.integers(1, 4))]
    return found


def _world(generator: Generator, architecture: str, delay: float, flakes: float) -> World:
    changes = generator.random(BEFORE + HORIZON + 1) < 1 / CHANGE_EVERY
    kind = generator.random()
    delay *= math.exp(WITHIN * generator.standard_normal())
    supported = math.inf if kind > 1 - NEVER else delay
    arrived = works = kind < EARLY
    lock, days = 0, []
    for day, change in enumerate(changes, -BEFORE):
        lock += int(change)
        if change and not arrived:
            arrived = works = day >= supported
        elif change and day > 0:
            works = generator.random() >= BREAKS if works else generator.random() < MENDS
        flaky = works and day >= 0 and generator.random() < flakes
        verdict = CellVerdict.FLAKY if flaky else CellVerdict.WORKS if works else CellVerdict.BROKEN
        days.append(Observation(RELEASED + timedelta(days=day), verdict, f"{lock}"))
    return World(architecture, tuple(days))


def observed(world: World, looking: Looking, through: int, generator: Generator) -> Iterator[Observation]:
    """Yield what is seen of ``world`` through the day ``through``; a day of another lock is never carried."""
    late = generator.random() < LATE
    first = BEFORE + (int(generator.integers(0, LATEST + 1)) if late else -REPLAYED)
    phase = int(generator.integers(0, looking.every))
    missed = generator.random(len(world.days)) < looking.missing
    last: Observation | None = None
    for at in range(first, BEFORE + through + 1):
        one = world.days[at]
        if missed[at]:
            continue
        if at % looking.every == phase:
            last = one
            yield one
        elif looking.carries and last is not None and last.version == one.version:
            yield Observation(one.day, last.verdict, last.version, carried=True)


def longest_followed(events: Sequence[float], censored: float, generator: Generator) -> float:
    """Return the days for which the first cell is followed, so that the share ``censored`` of the events comes later.

    Cells enter evenly over time. Events that never come are censored in any case, and not counted here.
    """
    if not censored:
        return math.inf
    entered = generator.random(len(events))
    low, high = 1.0, 100.0 * HORIZON
    for _ in range(60):
        longest = math.sqrt(low * high)
        within = [event > longest * one for event, one in zip(events, entered, strict=True) if event < HORIZON]
        low, high = (longest, high) if sum(within) > censored * len(within) else (low, longest)
    return high


def median(events: Sequence[float]) -> float:
    """Return the first day by which half of ``events`` have happened."""
    return sorted(events)[(len(events) - 1) // 2]
