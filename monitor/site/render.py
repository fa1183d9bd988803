"""Renders templates and Markdown as HTML in which no text can do harm."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markdown_it import MarkdownIt

from monitor.domain import CellVerdict
from monitor.report.format import LETTERS, days_text, length_text, quantile_text, since_text
from monitor.site import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

MARK = "\N{REPLACEMENT CHARACTER}"
MOST_CHARS = 20_000

# control characters but tab and line feed, marks that turn the direction of text or have no width, lone surrogates,
# and what XML forbids, because a feed that has one is not XML
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def render(template: str, path: str, **values: Any) -> bytes:
    """Return the file at ``path``; the template's links start from there. Every value is escaped."""
    root = names.root_of(path)
    return _environment().get_template(template).render(root=root, path=path, **values).encode()


def style() -> bytes:
    return (files("monitor.site") / "templates" / "style.css").read_bytes()


@cache
def _environment() -> Environment:
    folder = files("monitor.site") / "templates"
    environment = Environment(
        loader=DictLoader({file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(names=names, letter=lambda verdict: LETTERS[CellVerdict(verdict)])
    environment.filters.update(
        clip=clipped, days=days_text, since=since_text, lasting=length_text, quantile=quantile_text
    )
    return environment


def _final(value: Any) -> Any:
    """Return the text of a value; markup that a template has made stays as it is."""
    if value is None:
        return ""
    return value if hasattr(value, "__html__") or isinstance(value, int | float) else shown(str(value))


def shown(text: str) -> str:
    """Return the text with a visible mark for each character that would turn, hide or break its surroundings."""
    if text.isascii() and text.isprintable() and len(text) <= MOST_CHARS:
        return text  # nearly every text, and a site has very many
    return _HARMFUL.sub(MARK, clipped(text, MOST_CHARS))


def clipped(text: str, most: int) -> str:
    """Return the text, or its beginning with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def tail(text: str, *, lines: int, chars: int) -> tuple[str, int]:
    """Return the last lines, each no longer than ``chars``, and how many lines are before them."""
    every = text.splitlines()
    return "\n".join(clipped(line, chars) for line in every[-lines:]), max(0, len(every) - lines)


def html_of(markdown: str) -> str:
    """Return a page of docs/ as HTML; its links lead to the site's pages."""
    return str(_markdown().render(markdown))


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in (_table_open, _table_close, _th_open, _link_open, _heading_open):
        markdown.add_render_rule(rule.__name__.removeprefix("_"), rule)
    return markdown


def _table_open(_self: RendererHTML, _tokens: Sequence[Token], _at: int, _options: Any, _env: Any) -> str:
    return '<div class="scroll" role="region" tabindex="0" aria-label="table"><table>'


def _table_close(_self: RendererHTML, _tokens: Sequence[Token], _at: int, _options: Any, _env: Any) -> str:
    return "</table></div>"


def _th_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    tokens[at].attrSet("scope", "col")
    return self.renderToken(tokens, at, options, env)


def _link_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    href = str(tokens[at].attrGet("href"))
    tokens[at].attrSet("href", re.sub(r"\.md$", ".html", href))
    return self.renderToken(tokens, at, options, env)


def _heading_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Give a heading the id that repositories give it, so that a link to a section leads there on both."""
    words = re.sub(r"[^\w\- ]", "", tokens[at + 1].content.lower())
    tokens[at].attrSet("id", words.replace(" ", "-"))
    return self.renderToken(tokens, at, options, env)
