"""Answers a user's SQL on connections that can only read, within limits."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.errors import UsageError
from monitor.store.opening import open_reading

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 30.0
_LOOK_EVERY_STEPS = 100_000

_LARGEST_VALUE_BYTES = 16 << 20  # locks and traces are below a megabyte

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"})
_TABLE_FUNCTIONS = ("json_each", "json_tree", "pragma_table_info", "pragma_table_list", "pragma_index_list")
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "writefile", "readfile", "edit"})


@dataclass(frozen=True, slots=True)
class Answer:
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def query(path: Path, sql: str, *, patience_s: float = PATIENCE_S) -> Answer:
    """Return what one SELECT answers. Raises UsageError for SQL that writes, is invalid, or takes too long."""
    db = open_reading(path)
    deadline = time.monotonic() + patience_s
    for function in _TABLE_FUNCTIONS:
        # its first use declares a table, which the authorizer would refuse
        db.conn.execute(f"SELECT 1 FROM {function}('') LIMIT 0")  # noqa: S608 - a name from the tuple above
    db.conn.set_authorizer(_authorize)
    db.conn.set_progress_handler(lambda: int(time.monotonic() > deadline), _LOOK_EVERY_STEPS)
    try:
        cursor = db.conn.execute(sql)
        answered = tuple(cursor.fetchall())
        columns = tuple(column[0] for column in cursor.description or ())
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _usage_error(error, patience_s) from None
    finally:
        db.close()
    if not columns:
        raise UsageError("the SQL statement is empty or returns no columns", hint="try: SELECT * FROM current")
    return Answer(columns, answered)


def bound_stranger(connection: sqlite3.Connection) -> None:
    """Let a stranger's SQL only read, from this database alone, and build no value that fills the memory."""
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)


def _authorize(action: int, name: str | None, argument: str | None, *_: object) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if argument in _FORBIDDEN_FUNCTIONS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if name in _PRAGMAS else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _usage_error(error: Exception, patience_s: float) -> UsageError:
    text = str(error)
    if any(sign in text for sign in ("not authorized", "authorization denied", "prohibited", "readonly")):
        return UsageError(
            "only SQL that reads the history is allowed here",
            hint="write one SELECT, such as: SELECT * FROM current",
        )
    if "interrupted" in text:
        return UsageError(f"the query took longer than {patience_s:g} s", hint="narrow it with WHERE or LIMIT")
    return UsageError(f"the SQL statement failed: {text}", hint="`settle query --help` has examples")
