"""Writes one alert as title, text and HTML in which no text from hubs or containers does harm; pure."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from monitor.alerts.values import Alert, Kind
from monitor.judge.signature import Signature
from monitor.site.names import model_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.alerts.values import Item

TITLE_CHARS, VALUE_CHARS = 160, 400
MOST_ITEMS = 20
REPETITION = "may be a repetition"
_WARNING = "This message may be a repetition: an earlier attempt may have arrived."
# a chat would notify people whom an error message mentions
_MENTION = re.compile(r"(?<![\w.])@(?=\w)|<(?=[!@#])")


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    text: str
    html: str


def message(alert: Alert, *, base: str = "") -> Message:
    """Write an alert; ``base`` is the address of the published site, "" where there is none."""
    shown, more = alert.items[:MOST_ITEMS], len(alert.items) - MOST_ITEMS
    parts = [part for _, items in groupby(shown, key=lambda item: item.signature) for part in _parts(list(items), base)]
    parts += [_Part(f"and {more} more")] if more > 0 else []
    return Message(
        plain(_title(alert), TITLE_CHARS),
        "\n".join(_as_text(part) for part in parts),
        "\n".join(_as_html(part) for part in parts),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    line: str
    facts: tuple[tuple[str, str], ...] = ()


def _parts(items: Sequence[Item], base: str) -> Iterator[_Part]:
    """Yield the items of one cause, after a part with the facts that they share."""
    alike: tuple[tuple[str, str], ...] = ()
    if len(items) > 1:
        alike = tuple(fact for fact in items[0].facts if all(fact in item.facts for item in items))
        signature = items[0].signature
        heading = f"cause: {Signature.parse(signature).text}" if signature else "the same for all:"
        if alike or signature:
            yield _Part(heading, alike)
    for item in items:
        yield _Part(item.line, (*(fact for fact in item.facts if fact not in alike), *_page_of(item, base)))


def repeated(message: Message) -> Message:
    """Return the message for another attempt, where an earlier one may have arrived."""
    return Message(
        f"{message.title} ({REPETITION})",
        f"{message.text}\n{_WARNING}\n",
        f"{message.html}\n<p><i>{html.escape(_WARNING)}</i></p>",
    )


def _title(alert: Alert) -> str:
    first, shown = alert.items[0], len({item.model for item in alert.items})
    release = f"{first.runtime} {first.version}".strip()
    match alert.kind:
        case Kind.BREAKS_MANY:
            here = "" if shown == alert.models else f", {shown} of them in this message"
            return f"{release} breaks {alert.models} models{here}"
        case Kind.DIGEST | Kind.TEST | Kind.TROUBLE_OVER:
            return first.line
        case _ if len(alert.items) > 1:
            return f"{alert.kind}: {shown} model{'s' if shown != 1 else ''}" + (f" with {release}" if release else "")
        case _ if first.runtime and first.model:
            return f"{alert.kind}: {first.subject} in {release}"
        case _:
            return f"{alert.kind}: {first.line}"


def _page_of(item: Item, base: str) -> Iterator[tuple[str, str]]:
    if base and item.model:
        yield "page", f"{base.rstrip('/')}/{model_page(item.model)}"


def _as_text(part: _Part) -> str:
    lines = [plain(part.line)]
    for name, value in part.facts:
        label = f"{plain(name)}:"
        lines.append(f"  {label:14} {plain(value)}" if name else f"  - {plain(value)}")
    return "\n".join([*lines, ""])


def _as_html(part: _Part) -> str:
    rows = "".join(
        f"<li>{html.escape(plain(name)) + ': ' if name else ''}{_value(name, plain(value))}</li>"
        for name, value in part.facts
    )
    return f"<p><b>{html.escape(plain(part.line))}</b></p>" + (f"<ul>{rows}</ul>" if rows else "")


def _value(name: str, value: str) -> str:
    """Write a value; only the page is a link, because its address is ours."""
    escaped = html.escape(value)
    return f'<a href="{escaped}">{escaped}</a>' if name == "page" else escaped


def plain(text: str, most: int = VALUE_CHARS) -> str:
    """Return ``text`` as one visible line of bounded length that mentions no user of a chat."""
    visible = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text[: most * 4])
    line = _MENTION.sub(lambda mention: f"{mention[0]} ", " ".join(visible.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
