"""What goes into a distribution of times to support, and what comes out; frozen values."""

from __future__ import annotations

from dataclasses import dataclass

TOLD_DAYS = 14  # two weeks of doubt are a figure's rounding; more, and it would be made up
TOLD_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Entry:
    """The time of one cell, or of one rung of it; only of models whose release day has a source.

    ``first`` and ``last`` are the possible days since the release, both included, as ``Span.days`` and
    ``Milestone.days`` tell them; ``last`` is None where it has not been seen yet.
    """

    architecture: str  # models of one architecture share their tooling, so they are resampled together
    first: int
    last: int | None
    undecided: bool = False  # as ``Milestone.undecided``: passing, but seen too thinly to tell
    registry_derived: bool = False  # made from what this runtime supports: were it never supported, it were not here


@dataclass(frozen=True, slots=True)
class Quantile:
    """The first day by which ``share`` of the cells are supported, with the bounds of its 95 percent interval.

    A day is None where the data do not reach it: not followed long enough, or never supported; both bounds are None
    where there are too few architectures to resample. ``day`` spreads evenly what the data cannot tell apart, and they
    allow every day from ``earliest`` to ``latest``; where nothing is told that is every day from 0 on.
    """

    share: float
    day: int | None
    low: int | None
    high: int | None
    earliest: int | None
    latest: int | None

    @property
    def told(self) -> bool:
        """Whether the data tell the day, and not only the days of which it is one."""
        return self.earliest is None or (self.latest is not None and self.latest - self.earliest <= TOLD_DAYS)


@dataclass(frozen=True, slots=True)
class Share:
    """The share of cells not supported at the end of ``day``, with its 95 percent interval where there is one.

    ``share`` spreads evenly what the data cannot tell apart; they allow every share from ``least`` to ``most``.
    """

    day: int  # since the release
    share: float
    low: float | None
    high: float | None
    least: float
    most: float

    @property
    def told(self) -> bool:
        return self.most - self.least <= TOLD_SHARE


@dataclass(frozen=True, slots=True)
class Distribution:
    """Turnbull's estimate of the time to support."""

    entries: int
    architectures: int
    exact: int  # to the day, of ``entries``; the others are known between two days, or not seen yet
    not_seen: int  # right-censored
    undecided: int  # where they are more than a tenth nothing is told: quantiles are without days, there are no shares
    late: int  # seen, but two weeks and more are possible; of more than a half of those that were seen nothing is told
    registry_derived: int  # where there are any, times are those of what got supported at all, hence too short
    lower_quartile: Quantile
    median: Quantile
    upper_quartile: Quantile
    never: (
        Share | None
    )  # at the last day that was followed; None: not measurable, as also with registry-derived entries
    not_by: tuple[Share, ...]  # at the horizons that were asked for and are followed
    curve: tuple[Share, ...]  # wherever it falls
