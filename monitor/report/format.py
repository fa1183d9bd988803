"""How the answer is written: spans, days, shares and strips as short text; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.stability.values import Censoring

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from monitor.stability.values import Observation, Quantile, Setback, Share, Span

LETTERS = {
    CellVerdict.WORKS: "W",
    CellVerdict.BROKEN: "B",
    CellVerdict.FLAKY: "F",
    CellVerdict.UNKNOWN: "?",
}
MINIATURES = (
    "Subjects are miniatures: random weights, and the published configuration with only its sizes shrunk. They show"
    " what the tooling does with an architecture, not what a model is worth."
)
STRIP_LEGEND = "W works, B broken, F flaky, ? unknown (ours), . not measured; small letters are carried"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, and a table below them; ``keys`` names the columns where a program reads it."""

    title: str
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    level: int = 2


def days_text(span: Span, zero: date | None) -> str:
    """Write how many days after ``zero`` it happened: ``5``, ``3 to 5``, ``up to 5`` or ``not in 90``."""
    if zero is None or span.after is span.by is None:
        return ""
    first, last = span.days(zero)
    if last is None:
        return f"not in {max(0, first - 1)}"
    if first == last:
        return f"{last}"
    return f"up to {last}" if span.after is None else f"{first} to {last}"


def since_text(span: Span) -> str:
    """Write the day: ``2026-04-02``, ``by 2026-04-02`` where it may have been earlier, or that it did not happen."""
    match span.censoring:
        case Censoring.EXACT:
            return f"{span.by}"
        case Censoring.LEFT | Censoring.INTERVAL:
            return f"by {span.by}"
        case Censoring.RIGHT:
            return "" if span.after is None else f"not by {span.after}"


def quantile_text(quantile: Quantile) -> str:
    """Write a day with its 95 percent interval; without one there are too few architectures to have it.

    What the data do not tell is written as the days of which it is one.
    """
    if quantile.day is None and not quantile.precise:
        return "not told"
    if not quantile.precise:
        bounds = (quantile.low, quantile.high) if quantile.low is not None else (quantile.earliest, quantile.latest)
        return f"{_day(bounds[0])} to {_day(bounds[1])}, no closer"
    if quantile.low is quantile.high is None:
        return _day(quantile.day)
    return f"{_day(quantile.day)} ({_day(quantile.low)} to {_day(quantile.high)})"


def share_text(share: Share) -> str:
    if not share.precise:
        low, high = (share.least, share.most) if share.low is None or share.high is None else (share.low, share.high)
        return f"{low:.0%} to {high:.0%}, no closer"
    if share.low is None or share.high is None:
        return f"{share.share:.0%}"
    return f"{share.share:.0%} ({share.low:.0%} to {share.high:.0%})"


def length_text(setback: Setback) -> str:
    """Write how many days a setback lasted, from the least to the most that fit."""
    least, most = setback.least_days, setback.most_days
    if most is None:
        return f"{least} so far"
    return f"{least}" if least == most else f"{least} to {most}"


def _day(day: int | None) -> str:
    return "not reached" if day is None else f"{day}"


def strip(observations: Iterable[Observation]) -> list[tuple[str, str]]:
    """Return a row a month, (``2026-04``, a sign a day): see ``STRIP_LEGEND``."""
    months: dict[str, dict[int, str]] = defaultdict(dict)
    for one in observations:
        letter = LETTERS[one.verdict]
        months[f"{one.day:%Y-%m}"][one.day.day] = letter.lower() if one.carried else letter
    return [
        (month, "".join(days.get(number, ".") for number in range(1, max(days) + 1)))
        for month, days in sorted(months.items())
    ]
