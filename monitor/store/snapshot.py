"""Reads whole views, row by row, as they are at one moment."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlite_utils import Database

EXPORTED = ("current", "history", "matrix", "by_release", "parity", "flips")


@dataclass(frozen=True, slots=True)
class View:
    name: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def view(db: Database, name: str) -> View:
    """Return one of the views of ``EXPORTED``; its rows are read as they are asked for."""
    assert name in EXPORTED  # noqa: S101 - it becomes part of the question
    cursor = db.conn.execute(f"SELECT * FROM {name}")  # noqa: S608 - as above
    return View(name, tuple(column[0] for column in cursor.description), cursor)


@contextmanager
def at_one_moment(db: Database) -> Iterator[None]:
    """Let everything that is asked meanwhile be answered as of its beginning."""
    db.conn.execute("BEGIN")
    try:
        yield
    finally:
        db.conn.rollback()
