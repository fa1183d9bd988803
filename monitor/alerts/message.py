"""Writes one alert as title, text and HTML, in which nothing that came from hubs or containers does harm; pure."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import quote

from monitor.alerts.words import Alert, Kind, severity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.alerts.words import Item

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
    title = plain(f"{severity_of(alert.kind)}: {_title(alert)}", TITLE_CHARS)
    shown, more = alert.items[:MOST_ITEMS], len(alert.items) - MOST_ITEMS
    text, page = [], []
    for cause, items in groupby(shown, key=lambda one: one.signature if alert.kind is Kind.BREAKS_MANY else ""):
        if cause:
            told = plain(cause.partition(" ")[2] or cause)
            text.append(f"cause: {told}\n")
            page.append(f"<p>cause: <b>{html.escape(told)}</b></p>")
        for item in items:
            lines = [(plain(name), plain(value)) for name, value in (*item.facts, *_page_of(item, base))]
            text.append(_as_text(plain(item.line), lines))
            page.append(_as_html(plain(item.line), lines))
    if more > 0:
        text.append(f"and {more} more\n")
        page.append(f"<p>and {more} more</p>")
    return Message(title, "\n".join(text), "\n".join(page))


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
        case _:
            return f"{alert.kind}: {first.line}"


def _page_of(item: Item, base: str) -> Iterator[tuple[str, str]]:
    if base and item.model:
        yield "page", f"{base.rstrip('/')}/model/{slug_of(item.model)}.html"


def slug_of(model: str) -> str:
    """Return the name of a model's page: its id, one word, safe as a file name and in an address."""
    return quote(re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip(".-") or "model", safe="")


def _as_text(line: str, facts: Iterable[tuple[str, str]]) -> str:
    return "\n".join([line, *(f"  {name + ':':14} {value}" if name else f"  - {value}" for name, value in facts), ""])


def _as_html(line: str, facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<li>{html.escape(name)}{': ' if name else ''}{_value(name, value)}</li>" for name, value in facts)
    return f"<p><b>{html.escape(line)}</b></p>" + (f"<ul>{rows}</ul>" if rows else "")


def _value(name: str, value: str) -> str:
    """Write a value; the page is the one link there is, and its address is ours."""
    escaped = html.escape(value)
    return f'<a href="{escaped}">{escaped}</a>' if name == "page" else escaped


def plain(text: str, most: int = VALUE_CHARS) -> str:
    """Return ``text`` as one line that moves no cursor, turns no direction, calls nobody and comes to an end."""
    visible = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text[: most * 4])
    line = _MENTION.sub(lambda found: f"{found[0]} ", " ".join(visible.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
