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
    open_reading(source).close()  # says in a sentence what is wrong with it
    aside = target.with_name(f".{target.name}.writing")
    with spoken(target):
        aside.unlink(missing_ok=True)
        try:
            uri = f"{source.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as there, closing(sqlite3.connect(aside)) as copy:
                there.backup(
                    copy
                )  # in one step, under one reader's lock: the writer is not held up and we never begin anew
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    return target.stat().st_size
