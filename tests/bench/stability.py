"""How far times to support are from the truth, and how often their intervals hold it, on simulated histories."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from monitor.stability.distribution import distribution
from monitor.stability.track import stabilization
from monitor.stability.values import STABLE_DAYS, TimeToSupport
from tests.bench.histories import HORIZON, RELEASED, Looking, longest_followed, median, observed, worlds
from tests.bench.timing import tell, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.stability.values import Distribution
    from tests.bench.histories import World

SEED = 20260401
POPULATION, SAMPLE, SAMPLES = 400, 40, 50  # architectures in all and in a sample; samples
SIZES, COVERAGE_SAMPLES = (5, 8, 16, 40, 100), 200  # the sizes that intervals are shown for, in architectures
COVERAGE_DAYS = (7, 30, 90)
ROUGH, ROUGHLY = 0.2, 10  # share of release days that are known to some days only, and how many on either side
CENSORED = (0.0, 0.2, 0.4, 0.6)
CONDITIONS = {"": (0.0, 0.0), "20% missing": (0.2, 0.0), "3% flaky": (0.0, 0.03)}
DAILY, WEEKLY, CARRIED = Looking(), Looking(every=7), Looking(every=7, carries=True)
SHARE_AT = 14  # days


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: which time is asked for, of whom, how they are looked at and how many of the times come too late."""

    stable: bool
    population: dict[str, list[World]]
    looking: Looking
    censored: float
    size: int = SAMPLE
    rough: bool = False  # some release days are not known to the day

    def truth(self, world: World) -> float:
        return world.stable if self.stable else world.works

    def entry(self, world: World, name: str, through: int, generator: np.random.Generator) -> TimeToSupport:
        days = list(observed(world, self.looking, through, generator))
        released, created = RELEASED, None
        if self.rough and generator.random() < ROUGH:
            created, released = (
                RELEASED + timedelta(days=sign * int(generator.integers(0, ROUGHLY + 1))) for sign in (-1, 1)
            )
        through_day = max(released, RELEASED + timedelta(days=through))
        found = stabilization(days, released=released, created=created, through=through_day)
        if self.stable:
            return TimeToSupport(name, *found.stable.days(released, created), undecided=found.stable.undecided)
        return TimeToSupport(name, *found.works.days(released, created))


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample's answer, and what leaving out the cells that are not there yet would give."""

    found: Distribution
    naive: float


def measure() -> None:
    populations = {
        flakes: worlds(np.random.default_rng(SEED), architectures=POPULATION, flakes=flakes)
        for flakes in {flakes for _, flakes in CONDITIONS.values()}
    }
    for stable, name in ((False, "time to first works"), (True, f"time to stable ({STABLE_DAYS} days)")):
        title(f"{name}: {SAMPLES} samples of {SAMPLE} architectures, intervals of 95%")
        for looking in (DAILY, WEEKLY):
            for condition, (missing, flakes) in CONDITIONS.items():
                for censored in CENSORED:
                    how = Looking(looking.every, missing)
                    if looking is DAILY or not stable:
                        _tell(Setting(stable, populations[flakes], how, censored), condition)
    _tell_coverage(populations[0.0])
    for looking in (WEEKLY, CARRIED):  # by the rule of evidence a week is too long a gap
        _tell(Setting(stable=True, population=populations[0.0], looking=looking, censored=0.0), "")


def _tell_coverage(population: dict[str, list[World]]) -> None:
    """Say how often the intervals hold the truth, by the number of architectures that they are shown for."""
    for stable, name in ((False, "works"), (True, "stable")):
        title(f"coverage of 95% intervals of the time to {name}: {COVERAGE_SAMPLES} samples of each size")
        for rough in (False, True):
            for size in SIZES:
                setting = Setting(stable, population, DAILY, 0.2, size=size, rough=rough)
                what = f"{size} architectures{', release days rough' if rough else ''}"
                tell(what, ", ".join(f"{of} {held:.0%}" for of, held in coverage(setting, COVERAGE_SAMPLES).items()))


def coverage(setting: Setting, samples: int) -> dict[str, float]:
    """Return how often the interval of each printed number holds the truth, and how often a median's is open."""
    generator = np.random.default_rng(SEED)
    truths = [setting.truth(world) for cells in setting.population.values() for world in cells]
    decided = [truth + (STABLE_DAYS if setting.stable else 0) for truth in truths]
    longest = longest_followed(decided, setting.censored, generator)
    found = [_sample(setting, longest, generator).found for _ in range(samples)]
    shown = [each for each in found if each.curve]
    ordered = sorted(truths)
    held: dict[str, list[bool]] = {}
    for each in shown:
        for name, quantile in (("median", each.median), ("upper quartile", each.upper_quartile)):
            truth = ordered[math.ceil(quantile.share * len(ordered)) - 1]
            held.setdefault(name, []).append(_far(quantile.low) <= truth <= _far(quantile.high))
        for share in each.not_by:
            truth = statistics.mean(one > share.day for one in truths)
            within = (share.low or 0.0) <= truth <= (1.0 if share.high is None else share.high)
            held.setdefault(f"share at day {share.day}", []).append(within)
        held.setdefault("median open above", []).append(each.median.high is None)
    return {name: statistics.mean(every) for name, every in held.items()}


def _tell(setting: Setting, condition: str) -> None:
    name = f"{setting.looking}, {setting.censored:.0%} censored"
    tell(f"{name}, {condition}" if condition else name, _scored(setting))


def _scored(setting: Setting) -> str:
    generator = np.random.default_rng(SEED)
    truths = [setting.truth(world) for cells in setting.population.values() for world in cells]
    decided = [truth + (STABLE_DAYS if setting.stable else 0) for truth in truths]
    longest = longest_followed(decided, setting.censored, generator)
    samples = [_sample(setting, longest, generator) for _ in range(SAMPLES)]
    told = [one for one in samples if one.found.curve]
    if not told:
        return "not measurable: seen too thinly"
    truth, share = median(truths), statistics.mean(one > SHARE_AT for one in truths)
    medians = [_far(one.found.median.day) for one in told]
    held = statistics.mean(_far(one.found.median.low) <= truth <= _far(one.found.median.high) for one in told)
    shares = [share for one in told for share in one.found.not_by if share.day == SHARE_AT]
    naive = median([one.naive for one in told])
    silent = f"nothing told in {len(samples) - len(told)} of {len(samples)}, else " if len(told) < len(samples) else ""
    text = f"{silent}true {truth:.0f} d, bias {_bias(medians, truth)}, held {held:.0%}, naive {naive - truth:+.0f} d"
    if not shares:
        return text
    bias = statistics.mean(one.share for one in shares) - share
    held = statistics.mean((one.low or 0.0) <= share <= (1.0 if one.high is None else one.high) for one in shares)
    return f"{text}; not by day {SHARE_AT}: true {share:.2f}, bias {bias:+.2f}, held {held:.0%}"


def _sample(setting: Setting, longest: float, generator: np.random.Generator) -> Sample:
    names = generator.choice(list(setting.population), setting.size)
    drawn = []
    for at, name in enumerate(names):
        for world in setting.population[name]:
            through = int(min(HORIZON, longest * (1.0 - generator.random())))
            drawn.append(setting.entry(world, f"{at}", through, generator))
    seen = [float(entry.last) for entry in drawn if entry.last is not None]
    found = distribution(drawn, horizons=(SHARE_AT, *COVERAGE_DAYS))
    return Sample(found, median(seen) if seen else math.inf)


def _bias(medians: Sequence[float], truth: float) -> str:
    """Return how far the middle of the estimated medians is from the true one."""
    middle = median(medians)
    return f"{middle - truth:+.0f} d" if math.isfinite(middle) else "unbounded (not reached)"


def _far(day: int | None) -> float:
    return math.inf if day is None else day
