"""Sections of a report, and the short text of spans, days, shares and strips in them; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.stability.values import Censoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from monitor.judge.lock_diff import Moved
    from monitor.stability.values import Observation, Quantile, Setback, Share, Span
    from monitor.store.tracks import Track

LETTERS = {
    CellVerdict.WORKS: "W",
    CellVerdict.BROKEN: "B",
    CellVerdict.FLAKY: "F",
    CellVerdict.UNKNOWN: "?",
}
MINIATURES = (
    "Subjects are miniatures: each is a tiny model with random weights, made from the published configuration with"
    " only its sizes shrunk. They show what a runtime does with an architecture, not what a model is worth."
)
WRONG_LETTER = "N"
LETTER_LEGEND = "W works, N works with wrong numbers, B broken, F flaky, ? unknown (Settle could not measure it)"
MOST_MOVED = 12


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, and a table below them; ``columns`` are the names that a program reads."""

    title: str
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    level: int = 2


def days_text(span: Span, zero: date | None, created: date | None = None) -> str:
    """Write how many days after ``zero`` it happened: ``5``, ``3 to 5``, ``up to 5`` or ``not in 90``.

    With ``created`` the zero is any day from that on.
    """
    if zero is None or span.after is span.by is None:
        return ""
    first, last = span.days(zero, created)
    if last is None:
        return f"not in {max(0, first - 1)}"
    if first == last:
        return f"{last}"
    return f"up to {last}" if span.after is None else f"{first} to {last}"


def since_text(span: Span) -> str:
    """Write the day: ``2026-04-02``, ``by 2026-04-02`` where it may be earlier, or that it has not happened."""
    match span.censoring:
        case Censoring.EXACT:
            return f"{span.by}"
        case Censoring.LEFT | Censoring.INTERVAL:
            return f"by {span.by}"
        case Censoring.RIGHT:
            return "" if span.after is None else f"not by {span.after}"


def released_text(track: Track) -> str:
    """Write the release day, or the days that it lies between, with the source and how sure it is."""
    if track.released is None:
        return "not known"
    days = f"{track.released}"
    if track.created not in (None, track.released):
        days = f"between {track.created} and {track.released}"
    what = ", ".join(
        filter(None, (track.released_kind, track.released_confidence and f"{track.released_confidence} confidence"))
    )
    return f"{days} ({'; '.join(filter(None, (what, track.released_source)))})"


def quantile_text(quantile: Quantile) -> str:
    """Write a day with its 95 percent interval, which needs enough architectures.

    Where the data give no single day, the text is the range that holds it.
    """
    if not quantile.precise:
        if quantile.day is None:
            return "not shown"
        low, high = (quantile.low, quantile.high) if quantile.interval else (quantile.earliest, quantile.latest)
        return f"between {_day(low)} and {_day(high)}" if high is not None else f"{_day(low)} or later"
    if quantile.low is None:  # no interval, or one that lies beyond the last followed day
        return _day(quantile.day)
    return f"{_day(quantile.day)} ({_day(quantile.low)} to {_day(quantile.high)})"


def share_text(share: Share) -> str:
    if not share.precise:
        low, high = (share.least, share.most) if share.low is None or share.high is None else (share.low, share.high)
        return f"between {low:.0%} and {high:.0%}"
    if share.low is None or share.high is None:
        return f"{share.share:.0%}"
    # no interval may read as one of no width
    digits = next((digits for digits in range(4) if f"{share.low:.{digits}%}" != f"{share.high:.{digits}%}"), 0)
    return f"{share.share:.{digits}%} ({share.low:.{digits}%} to {share.high:.{digits}%})"


def length_text(setback: Setback) -> str:
    """Write how many days a setback lasted, from the least to the most that fit."""
    least, most = setback.least_days, setback.most_days
    if most is None:
        return f"{least} so far"
    return f"{least}" if least == most else f"{least} to {most}"


def moved_text(changes: Sequence[Moved], *, first: str = "") -> str:
    """Write the packages that moved, the one named ``first`` before the others; a long list is cut."""
    ordered = sorted(changes, key=lambda change: (change.package != first, change.package))
    return listed([str(change) for change in ordered], most=MOST_MOVED)


def listed(texts: Sequence[str], *, most: int) -> str:
    more = len(texts) - most
    return ", ".join([*texts[:most], *([f"and {more} more"] if more > 0 else [])])


def day_letter(observation: Observation | None) -> str:
    """Return the letter of a day: small where the verdict is carried over, ``.`` where nothing was measured."""
    if observation is None:
        return "."
    letter = WRONG_LETTER if observation.wrong_numbers else LETTERS[observation.verdict]
    return letter.lower() if observation.carried else letter


def strip(observations: Iterable[Observation]) -> list[tuple[str, str]]:
    """Return a row a month: ``2026-04``, and a letter for each day."""
    months: dict[str, dict[int, Observation]] = defaultdict(dict)
    for observation in observations:
        months[f"{observation.day:%Y-%m}"][observation.day.day] = observation
    return [
        (month, "".join(day_letter(days.get(number)) for number in range(1, max(days) + 1)))
        for month, days in sorted(months.items())
    ]


def _day(day: int | None) -> str:
    return "not reached" if day is None else f"{day}"
