"""What a track saw day by day, and the answer with its uncertainty, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from monitor.words import CellVerdict

if TYPE_CHECKING:
    from datetime import date

KNOWN = frozenset({CellVerdict.WORKS, CellVerdict.BROKEN, CellVerdict.FLAKY})


@dataclass(frozen=True, slots=True)
class Observation:
    """One UTC day of one track (a cell at the bar, or one of its rungs).

    ``pins`` names what the probe really imports: another text is another thing under test. ``epoch`` names the files of
    the model. An ``unknown`` day is missing data, as a day without an observation is.
    """

    day: date
    verdict: CellVerdict
    version: str = ""
    pins: str = ""
    epoch: str = ""
    carried: bool = False

    @property
    def valid(self) -> bool:
        return self.verdict in KNOWN

    @property
    def works(self) -> bool:
        return self.verdict is CellVerdict.WORKS


@dataclass(frozen=True, slots=True)
class Span:
    """An event on one of the days after ``after``, up to ``by``.

    ``after`` None: it may have been any day before (left-censored); ``by`` None: not by the last day that says anything
    (right-censored); both None: nothing is known.
    """

    after: date | None = None
    by: date | None = None

    @property
    def happened(self) -> bool:
        return self.by is not None

    def days_since(self, zero: date) -> tuple[float, float]:
        """Return the earliest and the latest possible day, counted from ``zero``; what came before counts as 0.

        A span of one day is exact: both are equal. ``inf`` is a right-censored end.
        """
        lower = 0 if self.after is None else max(0, (self.after - zero).days + 1)
        upper = inf if self.by is None else max(0, (self.by - zero).days)
        return float(lower), max(float(lower), upper)


@dataclass(frozen=True, slots=True)
class Setback:
    """Passing days ended by broken ones. After stable support it is a regression."""

    began: Span
    ended: Span  # right-censored while it lasts
    last_good: str  # versions
    first_bad: str
    fixed_by: str  # "" while it lasts
    regression: bool

    @property
    def days_to_restore(self) -> tuple[float, float]:
        """Return the shortest and the longest time that it can have lasted, in days; ``inf`` while it lasts."""
        first = self.began.by
        assert first is not None  # noqa: S101 - a setback has been seen
        low = 1.0 if self.ended.after is None else float((self.ended.after - first).days + 1)
        if self.ended.by is None:
            return low, inf
        earliest = self.began.after or first
        return low, float(max((self.ended.by - earliest).days - 1, low))


class Standing(StrEnum):
    """How a track stands at the end of its history."""

    STABLE = "stable"
    PROVISIONAL = "provisional"  # works, and not for long enough
    REGRESSED = "regressed"  # was stable, is broken
    BROKEN = "broken"
    FLAKY = "flaky"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Stabilization:
    """The answer for one track. Spans are in calendar days; ``released`` is clock zero, where a source is known."""

    released: date | None
    through: date  # the last day that was looked at
    observed: date | None  # the last day that said something
    works: Span
    stable: Span
    established: Span
    provisional_since: date | None
    standing: Standing
    setbacks: tuple[Setback, ...]
    epochs: tuple[tuple[str, date], ...]  # the files' names and the first day of each
    valid_days: int
    carried_days: int

    @property
    def regressions(self) -> tuple[Setback, ...]:
        return tuple(one for one in self.setbacks if one.regression)

    @property
    def lead_days(self) -> int:
        """Return by how many days support came before the release; 0 when it did not."""
        if self.released is None or self.works.by is None:
            return 0
        return max(0, (self.released - self.works.by).days)
