"""When a cell flips back and forth, and when it has calmed down, with hysteresis; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

FLIPS = 3  # as many within the days begin it; it takes as many days without any to end it


@dataclass(frozen=True, slots=True)
class Spell:
    """``began`` is the day of the flip that made it flapping, ``calm`` the first day after enough quiet ones."""

    began: date
    calm: date | None


def spells(flips: Sequence[date], *, seen: date, days: int) -> tuple[Spell, ...]:
    """Return the flapping spells of a cell that flipped on these days, in order, and was last seen on ``seen``.

    Where nothing is seen nothing is calm: a cell that nobody looked at has not stopped flapping.
    """
    found: list[Spell] = []
    recent: list[date] = []
    for day, following in zip_longest(flips, flips[1:]):
        recent = [*(one for one in recent if (day - one).days <= days), day]
        if not found or found[-1].calm is not None:
            if len(recent) < FLIPS:
                continue
            found.append(Spell(day, None))
        calm = day + timedelta(days=days + 1)
        if seen >= calm and (following is None or following >= calm):
            found[-1] = Spell(found[-1].began, calm)
            recent = []
    return tuple(found)
