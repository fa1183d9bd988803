"""Prints results: tables and sections for people, JSON, CSV and Markdown for programs."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys
import textwrap
from datetime import date, datetime
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from monitor.text import escaped, printable, single_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from monitor.report.format import Section

_GAP = "  "
_NARROWEST = 8


class _PrintableConsole(Console):
    """Prints our own colours, and of strings only what can be seen."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(printable(item) if isinstance(item, str) else item for item in objects), **options)


def data_console() -> Console:
    """Return the console for stdout; in a pipe its lines are not cut to a screen's width."""
    return _PrintableConsole(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=False)


def message_console() -> Console:
    return _PrintableConsole(stderr=True, highlight=False)


def as_json(value: Any) -> str:
    return escaped(json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2))


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Path | Enum):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_json(value: Any) -> None:
    sys.stdout.write(as_json(value) + "\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print CSV: as it is for a program, harmless on a screen."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    on_screen = sys.stdout.isatty()
    writer.writerows([printable(item) if on_screen and isinstance(item, str) else item for item in row] for row in rows)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; text wider than its column continues on the next line."""
    console = data_console()
    texts = [["" if value is None else single_line(str(value)) for value in row] for row in rows]
    heading, *lines = table_lines([list(columns), *texts], console.width, cell_len)
    console.print(Text(heading, style="bold"), soft_wrap=True)
    if lines:
        console.file.write("\n".join([*lines, ""]))  # rich would take as long over them as everything before


def table_lines(rows: Sequence[Sequence[str]], width: int, measure: Callable[[str], int]) -> Iterator[str]:
    """Yield the lines of a table at most ``width`` wide; rich's own tables take a second for a thousand rows."""
    widths = _column_widths([max(map(measure, column)) for column in zip(*rows, strict=True)], width)
    for row in rows:
        cells = [
            [text] if measure(text) <= limit else textwrap.wrap(text, limit, break_on_hyphens=False) or [""]
            for text, limit in zip(row, widths, strict=True)
        ]
        for line in zip_longest(*cells, fillvalue=""):
            padded = (text + " " * (limit - measure(text)) for text, limit in zip(line, widths, strict=True))
            yield _GAP.join(padded).rstrip()


def _column_widths(widths: list[int], total: int) -> list[int]:
    """Narrow the widest columns until they fit ``total``, but none below a readable width."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - total
    while excess > 0 and max(widths) > _NARROWEST:
        widest = max(widths)
        next_widest = max((width for width in widths if width < widest), default=_NARROWEST)
        count = widths.count(widest)
        cut = max(1, min(widest - max(next_widest, _NARROWEST), -(-excess // count)))
        widths = [width - cut if width == widest else width for width in widths]
        excess -= cut * count
    return widths


def write_sections(sections: Iterable[Section]) -> None:
    console = data_console()
    for section in sections:
        console.print(plain_text(section.title), style="bold")
        for note in section.notes:
            console.print(plain_text(note), soft_wrap=True)
        if section.rows:
            write_table(section.columns, section.rows)
        console.print()


def plain_text(value: Any) -> Text:
    """Return text that rich shows unchanged, on one line: output of a container may look like markup, or worse."""
    return Text(single_line(str(value)))


def write_markdown(sections: Iterable[Section]) -> None:
    for section in sections:
        sys.stdout.write(markdown(section) + "\n")


def markdown(section: Section) -> str:
    """Return a section as Markdown; text from a container is escaped."""
    lines = ["#" * section.level + f" {_escape_markdown(section.title)}", ""]
    lines += [line for note in section.notes for line in (printable(note), "")]
    if section.rows:
        lines.append("| " + " | ".join(map(_escape_markdown, section.columns)) + " |")
        lines.append("|" + "---|" * len(section.columns))
        lines += ["| " + " | ".join(map(_escape_markdown, row)) + " |" for row in section.rows]
        lines.append("")
    return "\n".join(lines)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", single_line(text))
