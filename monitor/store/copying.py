"""Copies the database as one whole file, while whoever writes it goes on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from monitor.errors import UsageError
from monitor.store.opening import open_reading, spoken
from monitor.store.reader import DATABASE

if TYPE_CHECKING:
    from pathlib import Path


def copy_database(home: Path, target: Path, *, replace: bool = False) -> int:
    """Write a copy that is consistent and complete in itself; return its bytes. It appears whole or not at all.

    Raises UsageError where something is there already, unless it is to be replaced.
    """
    source = home / DATABASE
    if target.is_dir() or (target.exists() and (not replace or target.samefile(source))):
        raise UsageError(f"{target} exists already", hint="name another file, or a copy to replace with --replace")
    aside = target.with_name(f".{target.name}.writing")
    with spoken(target):
        aside.unlink(missing_ok=True)
        try:
            copy_as_of_now(source, aside)
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    return target.stat().st_size


def copy_as_of_now(source: Path, copy: Path) -> None:
    """Copy in one step: a reader's view of one moment, whatever is written meanwhile."""
    with closing(open_reading(source, older=True)) as db, closing(sqlite3.connect(copy)) as connection:
        db.conn.backup(connection)
        connection.execute("PRAGMA journal_mode = DELETE")  # a file that is complete in itself
