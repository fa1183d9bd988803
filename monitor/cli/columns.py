"""Lays text out in columns as wide as a screen; rich's own tables take a second for a thousand rows."""

from __future__ import annotations

import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_GAP = "  "
_NARROWEST = 8


def laid_out(rows: Sequence[Sequence[str]], width: int, measure: Callable[[str], int]) -> Iterator[str]:
    """Yield the lines of ``rows``; what does not fit its column goes on below. ``measure`` tells a text's width."""
    wide = _fitting([max(map(measure, column)) for column in zip(*rows, strict=True)], width)
    for row in rows:
        cells = [
            [text] if measure(text) <= most else textwrap.wrap(text, most, break_on_hyphens=False) or [""]
            for text, most in zip(row, wide, strict=True)
        ]
        for line in zip_longest(*cells, fillvalue=""):
            padded = (text + " " * (most - measure(text)) for text, most in zip(line, wide, strict=True))
            yield _GAP.join(padded).rstrip()


def _fitting(wide: list[int], width: int) -> list[int]:
    """Take from the widest columns what is too much, but leave each something to be read by."""
    too_much = sum(wide) + len(_GAP) * (len(wide) - 1) - width
    while too_much > 0 and max(wide) > _NARROWEST:
        widest = max(wide)
        next_widest = max((one for one in wide if one < widest), default=_NARROWEST)
        many = wide.count(widest)
        less = max(1, min(widest - max(next_widest, _NARROWEST), -(-too_much // many)))
        wide = [one - less if one == widest else one for one in wide]
        too_much -= less * many
    return wide
