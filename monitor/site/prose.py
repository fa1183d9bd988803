"""Turns the few forms of Markdown that our own pages use into HTML: headings, lists, tables, code and links; pure."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BAR = re.compile(r"(?<!\\)\|")
_SPANS = (
    (re.compile(r"\*\*(.+?)\*\*(?!\*)"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w*])\*(?!\s)(.+?)(?<!\s)\*(?![\w*])"), r"<em>\1</em>"),
    (re.compile(r"\[([^\]]+)\]\(([\w.-]+)\.md\)"), r'<a href="\2.html">\1</a>'),  # our own pages only
)


def html(markdown: str) -> str:
    return "\n".join(_blocks(markdown))


def _blocks(markdown: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", markdown.strip()):
        lines = block.splitlines()
        if heading := re.fullmatch(r"(#{1,4}) (.+)", lines[0]):
            level = len(heading[1])
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
            lines = lines[1:]
        for kind, group in groupby(_joined(lines), key=_kind):
            own = list(group)
            if kind == "table":
                yield _table(own)
            elif kind == "item":
                yield "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in own) + "</ul>"
            else:
                yield f"<p>{_inline(' '.join(own))}</p>"


def _joined(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines with what goes on with an item, indented, at the end of it."""
    whole = ""
    for line in lines:
        if whole and line.startswith("  "):
            whole += f" {line.strip()}"
            continue
        if whole:
            yield whole
        whole = line
    if whole:
        yield whole


def _kind(line: str) -> str:
    return "table" if line.startswith("|") else "item" if line.startswith("- ") else "text"


def _table(lines: Sequence[str]) -> str:
    rows = [[_inline(cell.strip().replace("\\|", "|")) for cell in _BAR.split(line)[1:-1]] for line in lines]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[2:])
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="table">{table}</div>'


def _inline(text: str) -> str:
    """Mark up one line; what is code is not looked into."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(f"<code>{escape(part)}</code>" if at % 2 else _marked(escape(part)) for at, part in enumerate(parts))


def _marked(text: str) -> str:
    for pattern, replacement in _SPANS:
        text = pattern.sub(replacement, text)
    return text
