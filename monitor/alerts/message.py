"""Writes one alert as title, text and HTML, in which nothing that came from hubs or containers does harm; pure."""

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
_WHY = "this message may be a repetition: whether an earlier attempt arrived cannot be known"
# a chat would notify everybody, or somebody, where an error message says so
_MENTION = re.compile(r"(?<![\w.])@(?=\w)|<(?=[!@#])")


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    text: str
    html: str


def message(alert: Alert, *, base: str = "") -> Message:
    """Write an alert; ``base`` is the address of the published site, "" where there is none."""
    shown, more = alert.items[:MOST_ITEMS], len(alert.items) - MOST_ITEMS
    parts = [part for _, items in groupby(shown, key=lambda one: one.signature) for part in _parts(list(items), base)]
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
    """Yield the items of one cause; what is the same for all of them is said once, before them."""
    alike: tuple[tuple[str, str], ...] = ()
    if len(items) > 1:
        alike = tuple(fact for fact in items[0].facts if all(fact in item.facts for item in items))
        signature = items[0].signature
        heading = f"cause: {Signature.parse(signature).text}" if signature else "the same for all:"
        if alike or signature:
            yield _Part(heading, alike)
    for item in items:
        yield _Part(item.line, (*(fact for fact in item.facts if fact not in alike), *_page_of(item, base)))


def repeated(one: Message) -> Message:
    """Return the message as it is sent where an earlier attempt may have arrived."""
    return Message(
        f"{one.title} ({REPETITION})", f"{one.text}\n{_WHY}\n", f"{one.html}\n<p><i>{html.escape(_WHY)}</i></p>"
    )


def _title(alert: Alert) -> str:
    first, shown = alert.items[0], len({item.model for item in alert.items})
    release = f"{first.runtime} {first.version}".strip()
    match alert.kind:
        case Kind.BREAKS_MANY:
            here = "" if shown == alert.models else f", {shown} of them followed here"
            return f"{release} breaks {alert.models} models{here}"
        case Kind.DIGEST | Kind.TEST:
            return first.line
        case Kind.TROUBLE:
            return f"the watcher is in trouble: {first.line}"
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
    """Write a value; the page is the one link there is, and its address is ours."""
    escaped = html.escape(value)
    return f'<a href="{escaped}">{escaped}</a>' if name == "page" else escaped


def plain(text: str, most: int = VALUE_CHARS) -> str:
    """Return ``text`` as one line that moves no cursor, turns no direction, calls nobody and comes to an end."""
    visible = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text[: most * 4])
    line = _MENTION.sub(lambda found: f"{found[0]} ", " ".join(visible.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
