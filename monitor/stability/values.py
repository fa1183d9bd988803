"""Frozen values of time to stable support: days in, stabilizations and their distributions out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date

    from monitor.domain import Rung

STABLE_DAYS, ESTABLISHED_DAYS = 14, 30
MOST_DOUBT_DAYS = 14  # two weeks of doubt are a figure's rounding; a day named with more doubt would be made up
MOST_DOUBT_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Observation:
    """The verdict on a cell, or on one rung of it, on one UTC day; at most one a day."""

    day: date
    verdict: CellVerdict
    version: str = ""  # of the runtime; another version is a new release
    pins: str = ""  # what the probe really imports that day; another value is a change of pins
    epoch: str = ""  # digest of the weights, configuration, tokenizer and template; another value begins an epoch
    carried: bool = False  # nothing ran, because that day's resolution gave the same lock
    wrong_numbers: bool = False  # it works, and its numbers are not those of the reference: shown, and never counted


def up_to_rung(rung: Rung, verdicts: Mapping[Rung, Verdict], bar: Collection[Rung]) -> CellVerdict | None:
    """Return the verdict on a rung together with those of the bar below it; None where the rung does not apply.

    A rung that was not reached because a lower one failed is as broken as that one: taken alone it would be missing
    data, and later rungs would seem to be supported earlier.
    """
    asked = verdicts.get(rung, Verdict.NOT_MEASURED)
    if asked is Verdict.NOT_APPLICABLE:
        return None
    below = [verdict for other, verdict in verdicts.items() if other in bar and other < rung]
    seen = {of_rung(verdict) for verdict in (asked, *below) if verdict is not Verdict.NOT_APPLICABLE}
    worst = (CellVerdict.BROKEN, CellVerdict.FLAKY, CellVerdict.UNKNOWN)
    return next((verdict for verdict in worst if verdict in seen), CellVerdict.WORKS)


def of_rung(verdict: Verdict) -> CellVerdict:
    """Return a rung's verdict as the verdict of an ``Observation``; what was not measured is missing data."""
    return {
        Verdict.PASSED: CellVerdict.WORKS,
        Verdict.FAILED: CellVerdict.BROKEN,
        Verdict.FLAKY: CellVerdict.FLAKY,
    }.get(verdict, CellVerdict.UNKNOWN)


class Censoring(StrEnum):
    """How well the day of an event is known."""

    EXACT = "exact"  # to the day
    LEFT = "left"  # it had happened by the first observed day
    INTERVAL = "interval"  # between two days that are further apart
    RIGHT = "right"  # it has not been seen yet


@dataclass(frozen=True, slots=True)
class Span:
    """An event that happened on one of the days in (after, by].

    ``after`` is None where no earlier day was observed, ``by`` is None where the event has not been seen yet.
    """

    after: date | None
    by: date | None

    @property
    def censoring(self) -> Censoring:
        if self.by is None:
            return Censoring.RIGHT
        if self.after is None:
            return Censoring.LEFT
        return Censoring.EXACT if (self.by - self.after).days == 1 else Censoring.INTERVAL

    def days(self, zero: date, created: date | None = None) -> tuple[int, int | None]:
        """Return the fewest and the most days since ``zero`` after which it can have happened, both included.

        With ``created`` the zero may be any day from that one on. A day before the zero counts as 0. The second is None
        where the event has not been seen yet.
        """
        first = 0 if self.after is None else max(0, (self.after - zero).days + 1)
        return first, None if self.by is None else max(0, (self.by - (created or zero)).days)


@dataclass(frozen=True, slots=True)
class Milestone:
    """The beginning of the first run of passing days that lasts ``window`` days and meets the rule of evidence."""

    window: int
    span: Span
    proven: date | None  # the day on which that run first met the rule
    decided: date | None  # whether a run that began by this day has lasted is known by now; None: of no run

    @property
    def met(self) -> bool:
        return self.span.by is not None

    @property
    def undecided(self) -> bool:
        """Whether a run began early enough to be decided by now, but too few of its days were observed."""
        if self.met or self.decided is None:
            return False
        return self.span.after is None or self.span.after < self.decided

    def days(self, zero: date, created: date | None = None) -> tuple[int, int | None]:
        """Return the first and last possible day since ``zero``, as ``Span.days`` does, for distributions.

        A milestone that is not met is censored at ``decided``, not at the last non-passing day where that is later:
        else exactly the cells that begin to pass would leave the set at risk just before they count.
        """
        first, last = self.span.days(zero, created)
        if last is None:
            first = 0 if self.decided is None else min(first, max(0, (self.decided - zero).days + 1))
        return first, last


class Lack(StrEnum):
    """What a run of passing days still lacks to be stable."""

    DAYS = "days"
    VALID_DAYS = "valid days"  # too many of its days are missing or unknown
    CHANGE = "change"  # neither a new release nor a change of pins inside it: a frozen lock proves nothing


@dataclass(frozen=True, slots=True)
class Provisional:
    """The run of passing days that goes on but is not stable yet."""

    span: Span  # of its beginning
    days: int  # from its first passing day to its last
    valid: int  # days among these
    lacks: tuple[Lack, ...]


@dataclass(frozen=True, slots=True)
class Setback:
    """A confirmed failure after the cell had passed, until it passed again; a regression where it had been stable."""

    regression: bool
    began: Span
    last_good: str  # version
    first_bad: str
    ended: Span
    restored_in: str  # version, "" while it goes on
    least_days: int  # it can have taken to restore, or has taken so far
    most_days: int | None  # None while it goes on


class Standing(StrEnum):
    """The state of a cell at the end of its history."""

    STABLE = "stable"
    PROVISIONAL = "provisional"  # passes, but not for long enough yet
    REGRESSED = "regressed"  # was stable, and is broken
    BROKEN = "broken"
    FLAKY = "flaky"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DayCounts:
    """How many days had which verdict, from the release (or the first observed day, without one) through the last."""

    works: int = 0
    broken: int = 0
    flaky: int = 0
    unknown: int = 0
    missing: int = 0  # not observed at all
    carried: int = 0  # among those that work, are broken or flaky


@dataclass(frozen=True, slots=True)
class Epoch:
    """The days on which weights, configuration, tokenizer and template did not change, judged alone.

    ``works`` and ``stable`` ignore the days of other epochs; clock zero stays the model's release.
    """

    id: str
    first: date
    last: date
    works: Span
    stable: Milestone


@dataclass(frozen=True, slots=True)
class Stabilization:
    """Times to support of one cell, or of one rung of it, as of ``through``."""

    released: date | None  # clock zero; without it there are days, but no times
    created: date | None  # the earliest day that may be clock zero, where that is not ``released`` alone
    through: date
    works: Span
    stable: Milestone
    established: Milestone
    provisional: Provisional | None  # only while not stable
    setbacks: tuple[Setback, ...]
    standing: Standing
    lead: int | None  # days of support seen before the release, at least; None: not supported yet, or no release day
    counts: DayCounts
    epochs: tuple[Epoch, ...]

    @property
    def regressions(self) -> tuple[Setback, ...]:
        return tuple(setback for setback in self.setbacks if setback.regression)


@dataclass(frozen=True, slots=True)
class TimeToSupport:
    """The time of one cell, or of one rung of it; only for models whose release day has a source.

    ``first`` and ``last`` are the possible days since the release, both included, as ``Span.days`` and
    ``Milestone.days`` return them; ``last`` is None where the event has not been seen yet.
    """

    architecture: str  # models of one architecture share their tooling, so they are resampled together
    first: int
    last: int | None
    undecided: bool = False  # as ``Milestone.undecided``: passing, but too few days were observed
    registry_derived: bool = False  # made from the runtime's own registry: a model that is never supported is not in it


@dataclass(frozen=True, slots=True)
class Quantile:
    """The first day by which ``share`` of the cells are supported, with the bounds of its 95 percent interval.

    A day is None where the data do not reach it: not followed long enough, or never supported; there is no
    ``interval`` where there are too few architectures. ``day`` spreads the mass evenly over days that the data cannot
    tell apart; the data allow every day from ``earliest`` to ``latest``, which is every day from 0 on in a
    distribution without a curve.
    """

    share: float
    day: int | None
    low: int | None
    high: int | None
    earliest: int | None
    latest: int | None
    interval: bool = False

    @property
    def precise(self) -> bool:
        """Whether the data give the day, and not only a range that holds it."""
        return self.earliest is None or (self.latest is not None and self.latest - self.earliest <= MOST_DOUBT_DAYS)


@dataclass(frozen=True, slots=True)
class Share:
    """The share of cells not supported at the end of ``day``, with its 95 percent interval where there is one.

    ``share`` spreads the mass evenly over days that the data cannot tell apart; the data allow every share from
    ``least`` to ``most``.
    """

    day: int  # since the release
    share: float
    low: float | None
    high: float | None
    least: float
    most: float

    @property
    def precise(self) -> bool:
        return self.most - self.least <= MOST_DOUBT_SHARE


@dataclass(frozen=True, slots=True)
class Distribution:
    """Turnbull's estimate of the time to support."""

    entries: int
    architectures: int
    exact: int  # of ``entries``, known to the day; the others are known between two days, or not seen yet
    not_seen: int  # right-censored
    undecided: int  # more than a tenth: quantiles have no days and there are no shares
    late: int  # seen, but two weeks and more are possible; more than half of the seen ones: as for ``undecided``
    registry_derived: int  # where there are any, all times are of models that got supported at all, so too short
    lower_quartile: Quantile
    median: Quantile
    upper_quartile: Quantile
    never: Share | None  # at the last followed day; None: not measurable, as also with registry-derived entries
    not_by: tuple[Share, ...]  # at the requested horizons, where they are followed
    curve: tuple[Share, ...]  # wherever it falls
