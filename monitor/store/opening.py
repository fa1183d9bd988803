"""Opens the one database file, for many readers and one writer, and says in a sentence why a file will not do."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO, cast

from monitor.errors import DatabaseError, disk_full

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlite_utils import Database

APPLICATION_ID = 0x5E771E  # "SETTLE", as far as hexadecimal can spell it
SHAPE = 23  # number of the newest migration: a database marked with it is neither older nor newer than this settle
BUSY_S = 30.0
_ASIDE = "move it away, or name another data directory with SETTLE_HOME"


class PlainDatabase:
    """What readers use of sqlite-utils' ``Database``, without the tenth of a second that importing that takes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.conn = connection

    def execute(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Cursor:
        return self.conn.execute(sql, tuple(parameters))

    def close(self) -> None:
        self.conn.close()


class WriterLock:
    """One writer a home: a lock on a file that the kernel gives back however its holder ends."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def take(cls, path: Path) -> WriterLock:
        """Take the lock at ``path`` or raise DatabaseError that names the process holding it."""
        try:
            file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise disk_full(error) or DatabaseError(f"{path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            file.close()
            raise DatabaseError(
                f"{path.parent} is in use by another settle (process {holder})",
                hint="wait until it ends, stop it, or name another data directory with SETTLE_HOME",
            ) from None
        try:
            os.ftruncate(file.fileno(), 0)
            os.write(
                file.fileno(), f"{os.getpid()}\n".encode()
            )  # unbuffered: a full disk fails here and not at the end
        except OSError as error:
            file.close()
            raise disk_full(error) or DatabaseError(f"{path} cannot be written: {error.strerror}") from None
        return cls(file)

    def release(self) -> None:
        # the file stays: removing it would let two processes each lock their own
        self._file.truncate(0)
        self._file.close()


def open_writing(path: Path) -> Database:
    """Return the database, created or brought up to date. The caller holds the writer's lock."""
    from monitor.store.schema import Database

    with database_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_S)
        try:
            db = Database(connection, execute_plugins=False)
            _recognise(db, path, may_be_empty=True)
            if not _application_id(db):
                _begin(connection)
            db.enable_wal()
            # WAL with NORMAL survives a killed process; FULL survives a lost power supply too, at one fsync a run
            db.execute("PRAGMA synchronous = FULL")
            _check_whole(db, path)
            bring_up_to_date(db)
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return db


def open_reading(path: Path, *, older: bool = False) -> Database:
    """Return the database on a connection that cannot write. It must exist, and be up to date or may be older."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        raise DatabaseError(
            f"there is no database at {path}",
            hint="`settle run --once` creates it; `settle demo` opens one that comes with Settle",
        )
    with database_errors(path):
        connection = _connect_reading(path)
        try:
            if not is_marked(connection):
                _examine(connection, path, older=older)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return cast("Database", PlainDatabase(connection))


def _connect_reading(path: Path) -> sqlite3.Connection:
    """Connect; on a read-only file system, where SQLite cannot make the file that readers share, as to a fixed file.

    Raises DatabaseError where a part of such a database lies in its log, which only a writer can merge.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_S)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        if not path.is_file() or not is_read_only(path.parent):
            raise
        if log.exists() and log.stat().st_size:
            raise DatabaseError(
                f"{path} lies on a read-only file system and was not closed: its latest part is in {log.name}",
                hint="copy the folder to where it can be written, or let `settle backup` make a whole copy",
            ) from None
        return sqlite3.connect(f"{address}&immutable=1", uri=True, timeout=BUSY_S)
    return connection


def is_read_only(folder: Path) -> bool:
    """Return whether nothing can be written into a folder, be it by its rights or by its file system."""
    return not os.access(folder, os.W_OK) or bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def broken_reference(connection: sqlite3.Connection) -> str:
    """Return, as a part of a sentence, the first row that refers to a missing one, "" where there is none."""
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        return (
            f"row {row} of {table} refers to a missing row of {parent}"
            if row
            else f"{table} refers to missing {parent}"
        )
    return ""


def bring_up_to_date(db: Database) -> None:
    """Convert it or apply what is new since it was written, and mark it as one that readers need not examine."""
    if is_marked(db.conn):
        return
    from monitor.store.conversion import convert, is_old
    from monitor.store.schema import MIGRATIONS

    if is_old(db):
        convert(db)
    MIGRATIONS.apply(db)
    db.execute(f"PRAGMA user_version = {SHAPE}")


def is_marked(connection: sqlite3.Connection) -> bool:
    marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    return marks == [APPLICATION_ID, SHAPE]


def _examine(connection: sqlite3.Connection, path: Path, *, older: bool) -> None:
    """Look closer at a database that is not marked as one of this settle's."""
    from monitor.store.schema import Database

    db = Database(connection, execute_plugins=False)
    _recognise(db, path, may_be_empty=False)
    if not older:
        _check_up_to_date(db, path)


def _begin(connection: sqlite3.Connection) -> None:
    """Write an empty database whole and at once: one that is killed in the middle leaves nothing half-made."""
    with closing(sqlite3.connect(":memory:")) as blank:
        blank.deserialize(_blank())
        blank.backup(connection)


@cache
def _blank() -> bytes:
    from monitor.store.schema import MIGRATIONS, Database

    with closing(sqlite3.connect(":memory:")) as connection:
        MIGRATIONS.apply(Database(connection, execute_plugins=False))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        return connection.serialize()


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a DatabaseError that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise disk_full(error) or DatabaseError(
            f"{path} cannot be opened: {error}", hint=f"check the permissions, or {_ASIDE}"
        ) from None
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path} is not a database that can be read: {error}", hint=_ASIDE) from None
    except OSError as error:
        raise disk_full(error) or DatabaseError(f"{path} cannot be opened: {error.strerror}", hint=_ASIDE) from None


def _recognise(db: Database, path: Path, *, may_be_empty: bool) -> None:
    """Refuse a database that is another program's, or that a newer settle has written."""
    from monitor.store.conversion import is_old
    from monitor.store.schema import MIGRATIONS, Database

    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    application = _application_id(db)
    if application != APPLICATION_ID and (tables or application or not may_be_empty):
        raise DatabaseError(f"{path} is a database, but not one of Settle's", hint=_ASIDE)
    known = {migration.name for migration in MIGRATIONS.pending(Database(memory=True, execute_plugins=False))}
    newer = [] if is_old(db) else [row.name for row in MIGRATIONS.applied(db) if row.name not in known]
    if newer:
        raise DatabaseError(
            f"{path} was written by a newer settle ({newer[-1]} is not known here)", hint="upgrade settle"
        )


def _check_whole(db: Database, path: Path) -> None:
    damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise DatabaseError(f"{path} is damaged: {damage}", hint=f"restore a copy, or {_ASIDE}")


def _check_up_to_date(db: Database, path: Path) -> None:
    from monitor.store.schema import MIGRATIONS

    if MIGRATIONS.pending(db):
        raise DatabaseError(f"{path} is older than this settle", hint="any `settle run` brings it up to date")


def _application_id(db: Database) -> int:
    return int(db.execute("PRAGMA application_id").fetchone()[0])
