"""How the answer is written: spans, days, shares and strips as short text; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from monitor.words import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from monitor.stability.distribution import Estimate
    from monitor.stability.words import Observation, Span

LETTERS = {
    CellVerdict.WORKS: "W",
    CellVerdict.BROKEN: "B",
    CellVerdict.FLAKY: "F",
    CellVerdict.UNKNOWN: "?",
}
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
    lower, upper = span.days_since(zero)
    if upper == inf:
        return f"not in {max(0, lower - 1):.0f}"
    if lower == upper:
        return f"{upper:.0f}"
    return f"up to {upper:.0f}" if span.after is None else f"{lower:.0f} to {upper:.0f}"


def since_text(span: Span) -> str:
    """Write the day: ``2026-04-02``, ``by 2026-04-02`` where it may have been earlier, or that it did not happen."""
    if span.by is None:
        return "" if span.after is None else f"not by {span.after}"
    exact = span.after is not None and span.by - span.after == timedelta(days=1)
    return f"{span.by}" if exact else f"by {span.by}"


def number_text(value: float) -> str:
    return "not reached" if value == inf else f"{value:.0f}"


def days_estimate_text(estimate: Estimate) -> str:
    return f"{number_text(estimate.value)} ({number_text(estimate.low)} to {number_text(estimate.high)})"


def share_text(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} ({max(0.0, estimate.low):.0%} to {min(1.0, estimate.high):.0%})"


def length_text(days: tuple[float, float]) -> str:
    """Write how long something lasted, from the shortest to the longest that fits."""
    low, high = days
    if high == inf:
        return f"{low:.0f} so far"
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


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
