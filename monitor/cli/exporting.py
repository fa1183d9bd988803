"""Writes views as files for other programs: CSV or JSON, row by row, each file whole or not at all."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from monitor.store import Reader
    from monitor.store.snapshot import View


def export_views(store: Reader, names: Sequence[str], target: Path, *, form: str, one_file: bool) -> Mapping[Path, int]:
    """Write the views as they are at one moment; return how many rows went into each file."""
    with store.at_one_moment():
        if one_file and form == "json":
            with _aside(target) as file:
                return {target: _objects(file, [store.view(name) for name in names])}
        written = {}
        for name in names:
            path = target if one_file else target / f"{name}.{form}"
            with _aside(path) as file:
                written[path] = (_table if form == "csv" else _array)(file, store.view(name))
        return written


def _table(file: TextIO, view: View) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(view.columns)
    count = 0
    for count, row in enumerate(view.rows, 1):  # noqa: B007 - the last count is what is asked for
        writer.writerow(row)
    return count


def _array(file: TextIO, view: View) -> int:
    count = 0
    file.write("[")
    for count, row in enumerate(view.rows, 1):
        told = json.dumps(dict(zip(view.columns, row, strict=True)), ensure_ascii=False)
        file.write(f"{',' if count > 1 else ''}\n{told}")
    file.write("\n]\n")
    return count


def _objects(file: TextIO, views: Sequence[View]) -> int:
    count = 0
    for at, view in enumerate(views):
        file.write(f"{',' if at else '{'}\n{json.dumps(view.name)}: ")
        count += _array(file, view)
    file.write("}\n")
    return count


@contextmanager
def _aside(path: Path) -> Iterator[TextIO]:
    """Yield a file that takes its place when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.writing")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
