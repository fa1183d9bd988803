"""Makes any text fit to be shown: what would turn, hide or break its surroundings becomes a visible mark; pure."""

from __future__ import annotations

import re

MARK = "\N{REPLACEMENT CHARACTER}"
MOST_CHARS = 20_000

# control characters but tab and line feed, marks that turn the direction of text or have no width, lone surrogates,
# and what XML forbids: a feed with one of them is no feed any more
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def shown(text: str) -> str:
    if text.isascii() and text.isprintable() and len(text) <= MOST_CHARS:
        return text  # nearly all, and there are very many
    return _UNSHOWN.sub(MARK, clipped(text, MOST_CHARS))


def clipped(text: str, most: int) -> str:
    """Return the text, or its beginning with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def tail(text: str, *, lines: int, chars: int) -> tuple[str, int]:
    """Return the last lines, each no longer than ``chars``, and how many lines there are before them."""
    every = text.splitlines()
    return "\n".join(clipped(line, chars) for line in every[-lines:]), max(0, len(every) - lines)
