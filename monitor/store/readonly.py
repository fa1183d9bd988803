"""A database that is only read, without the tenth of a second that importing sqlite-utils takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

APPLICATION_ID = 0x5E771E  # "SETTLE", as far as hexadecimal can spell it
SHAPE = 15  # how many migrations there are: what is marked with it is neither older nor newer than this settle


class Plain:
    """What readers use of sqlite-utils' ``Database``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.conn = connection

    def execute(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Cursor:
        return self.conn.execute(sql, tuple(parameters))

    def close(self) -> None:
        self.conn.close()


def is_marked(connection: sqlite3.Connection) -> bool:
    marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    return marks == [APPLICATION_ID, SHAPE]
