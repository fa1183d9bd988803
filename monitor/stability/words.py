"""What the history of one cell, or of one rung of it, says about time to stable support; frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, Verdict

if TYPE_CHECKING:
    from datetime import date

STABLE_DAYS, ESTABLISHED_DAYS = 14, 30


@dataclass(frozen=True, slots=True)
class Observation:
    """What one UTC day says of a cell, or of one rung of it; at most one a day."""

    day: date
    verdict: CellVerdict
    version: str = ""  # of the runtime; another one is a new release
    pins: str = ""  # names what the probe really imports that day; another one is a change of pins
    epoch: str = ""  # names the model's weights, configuration, tokenizer and template; another one begins an epoch
    carried: bool = False  # nothing was run, for that day's resolution gave the same lock


def of_rung(verdict: Verdict) -> CellVerdict:
    """Return a rung's verdict in the words of an ``Observation``; what was not measured is missing data."""
    return {
        Verdict.PASSED: CellVerdict.WORKS,
        Verdict.FAILED: CellVerdict.BROKEN,
        Verdict.FLAKY: CellVerdict.FLAKY,
    }.get(verdict, CellVerdict.UNKNOWN)


class Censoring(StrEnum):
    """How well the day of an event is known."""

    EXACT = "exact"  # to the day
    LEFT = "left"  # it had happened by the first day that was seen
    INTERVAL = "interval"  # between two days that are further apart
    RIGHT = "right"  # it has not been seen yet


@dataclass(frozen=True, slots=True)
class Span:
    """An event that happened on one of the days in (after, by].

    ``after`` is None where nothing was seen before, ``by`` is None where it has not been seen yet.
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

    def days(self, zero: date) -> tuple[int, int | None]:
        """Return the first and last day it can have happened on, both included, in days since ``zero``.

        What happened before ``zero`` counts as 0. The second is None where it has not been seen yet.
        """
        first = 0 if self.after is None else max(0, (self.after - zero).days + 1)
        return first, None if self.by is None else max(0, (self.by - zero).days)


@dataclass(frozen=True, slots=True)
class Milestone:
    """The beginning of the first run of passing days that lasts ``window`` days and meets the rule of evidence."""

    window: int
    span: Span
    proven: date | None  # the day on which that run first met the rule
    decided: date | None  # a run begun on this day or before would by now be known to have lasted, or not; None: none

    @property
    def met(self) -> bool:
        return self.span.by is not None

    @property
    def undecided(self) -> bool:
        """Whether a run began early enough to be decided by now, but was seen too thinly to be."""
        if self.met or self.decided is None:
            return False
        return self.span.after is None or self.span.after < self.decided

    def days(self, zero: date) -> tuple[int, int | None]:
        """Return the first and last possible day since ``zero``, for distributions.

        One that is not met is censored at ``decided``, not at its last non-passing day where that is later: else
        exactly those that begin to pass would leave the set at risk just before they count.
        """
        first, last = self.span.days(zero)
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
    valid: int  # of these
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
    """How a cell stands at the end of its history."""

    STABLE = "stable"
    PROVISIONAL = "provisional"  # passes, and not for long enough
    REGRESSED = "regressed"  # was stable, and is broken
    BROKEN = "broken"
    FLAKY = "flaky"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DayCounts:
    """The days from the release, or from the first that was seen where that is not known, through the last."""

    works: int = 0
    broken: int = 0
    flaky: int = 0
    unknown: int = 0
    missing: int = 0  # nothing was seen at all
    carried: int = 0  # of those that work, are broken or flaky


@dataclass(frozen=True, slots=True)
class Epoch:
    """The days on which weights, configuration, tokenizer and template were one and the same, on their own.

    ``works`` and ``stable`` take no notice of the days of other epochs; clock zero stays the model's release.
    """

    id: str
    first: date
    last: date
    works: Span
    stable: Milestone


@dataclass(frozen=True, slots=True)
class Stabilization:
    """The answer for one cell, or one rung of it, as of ``through``."""

    released: date | None  # clock zero; without one there are days since, but no times
    through: date
    works: Span
    stable: Milestone
    established: Milestone
    provisional: Provisional | None  # only while not stable
    setbacks: tuple[Setback, ...]
    standing: Standing
    lead: int | None  # days of support seen before the release; None: not supported yet, or no release day
    counts: DayCounts
    epochs: tuple[Epoch, ...]

    @property
    def regressions(self) -> tuple[Setback, ...]:
        return tuple(one for one in self.setbacks if one.regression)
