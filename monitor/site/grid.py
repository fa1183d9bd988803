"""Lays a history out as a calendar: a row a month, a square a day, a letter in each, as cells of a table; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.report.format import LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.stability.values import Observation

MOST_MONTHS = 24  # a page's; every day is in the model's JSON
_LONGEST_MONTH = 31
LOOKS = {CellVerdict.WORKS: "w", CellVerdict.BROKEN: "b", CellVerdict.FLAKY: "f", CellVerdict.UNKNOWN: "u"}


@dataclass(frozen=True, slots=True)
class Month:
    """A row; ``cells`` is markup, made of our own letters only: a template would take as long for each as for all."""

    name: str
    cells: str


def letter_of(verdict: CellVerdict) -> str:
    return LETTERS[verdict]


def calendar(observations: Sequence[Observation], released: date | None) -> list[Month]:
    """Return the newest months, oldest first; small letters are carried days, and the release day is marked."""
    by_day = {one.day: one for one in observations}
    first, last = observations[0].day, observations[-1].day
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)[-MOST_MONTHS:]
    return [_month(by_day, year, month + 1, (first, last), released) for year, month in (divmod(n, 12) for n in months)]


def _month(
    by_day: Mapping[date, Observation], year: int, month: int, bounds: tuple[date, date], released: date | None
) -> Month:
    squares = []
    for number in range(1, _LONGEST_MONTH + 1):
        day = _date(year, month, number)
        if day is None or not bounds[0] <= day <= bounds[1]:
            squares.append("<td></td>")
            continue
        look, letter = _square(by_day.get(day))
        marked = f"{look} released" if day == released else look
        squares.append(f'<td class="{marked}">{letter}</td>')
    return Month(f"{year}-{month:02}", "".join(squares))


def _square(one: Observation | None) -> tuple[str, str]:
    if one is None:
        return "m", "."
    letter = LETTERS[one.verdict]
    return LOOKS[one.verdict], letter.lower() if one.carried else letter


def _date(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None
