"""Copies the history into one archive while it is in use, and restores it, checked, into an empty data directory.

The archive holds the database, the raw events and the logs, and at its end their counts and digest, so that a cut-off
archive is noticed. What can be made again, such as environments, is left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import sqlite3
import tarfile
import zlib
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from monitor.errors import DatabaseError, UsageError, disk_full
from monitor.store.opening import WriterLock, open_reading, open_writing
from monitor.store.reader import DATABASE
from monitor.store.store import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENTS = "settle-backup.json"
ARCHIVES = ("events", "logs")
_KEPT = re.compile(r"(events|logs)/([0-9a-f]{2})/(\2[0-9a-f]{62})\.gz")
_CHUNK_BYTES = 1 << 20
_CONTENTS_BYTES = 10_000
_UNFINISHED = ".restoring"
_ANOTHER = "give another file that `settle backup` wrote"


class Contents(BaseModel):
    """What a whole backup holds."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal[1] = 1
    database_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    events: NonNegativeInt
    logs: NonNegativeInt


def back_up(home: Path, target: Path) -> Contents:
    """Write the home's history to a file that is not there yet; anybody may go on writing to the home meanwhile.

    Raises UsageError for a file that is there, and DatabaseError for a home without a database that can be read.
    """
    if target.exists():
        raise UsageError(f"{target} already exists", hint="name each backup differently, for example by its day")
    aside = target.parent / f".{target.name}.writing"
    with _archive_errors(target, "written"):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            _copy_database(home / DATABASE, aside / DATABASE)
            # after the database: whatever that names was on the disk before
            contents = _pack(home, aside / DATABASE, aside / CONTENTS)
            (aside / CONTENTS).rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return contents


def restore(source: Path, home: Path) -> Contents:
    """Bring a backup back, and its database up to date; the home is as it was unless all of it is whole.

    Raises UsageError for a home that is not empty, and DatabaseError for a backup that is damaged or none.
    """
    aside = home / _UNFINISHED
    with _archive_errors(source, "restored"):
        home.mkdir(parents=True, exist_ok=True)
        lock = WriterLock.take(home / LOCK)
        try:
            _clear(home, aside)
            try:
                contents = _unpack(source, aside)
                open_writing(aside / DATABASE).close()
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
            for name in (*ARCHIVES, DATABASE):  # the database last: it is what makes a home
                (aside / name).rename(home / name)
            aside.rmdir()
        finally:
            lock.release()
    return contents


def _clear(home: Path, aside: Path) -> None:
    """Make room; what lies beside an unfinished restoring came from there, for that began in an empty home."""
    ours = {LOCK, _UNFINISHED, *(ARCHIVES if aside.exists() else ())}
    others = sorted(path.name for path in home.iterdir() if path.name not in ours)
    if others:
        raise UsageError(
            f"{home} is not empty: it holds {', '.join(others[:3])}", hint="name an empty home with SETTLE_HOME"
        )
    for name in (*ARCHIVES, _UNFINISHED):
        shutil.rmtree(home / name, ignore_errors=True)
    aside.mkdir()


def _copy_database(source: Path, copy: Path) -> None:
    """Copy in one step: a reader's view of one moment, whatever is written meanwhile."""
    with closing(open_reading(source, older=True)) as db, closing(sqlite3.connect(copy)) as connection:
        db.conn.backup(connection)
        connection.execute("PRAGMA journal_mode = DELETE")  # a file that is complete in itself


def _pack(home: Path, database: Path, target: Path) -> Contents:
    counts = dict.fromkeys(ARCHIVES, 0)
    with target.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(database, DATABASE)
            for kind in ARCHIVES:
                for path in sorted((home / kind).glob("??/*.gz")):
                    try:
                        archive.add(path, f"{kind}/{path.parent.name}/{path.name}")
                    except FileNotFoundError:
                        continue  # a log that has been collected since
                    counts[kind] += 1
            with database.open("rb") as copied:
                digest = hashlib.file_digest(copied, "sha256").hexdigest()
            contents = Contents(database_sha256=digest, events=counts["events"], logs=counts["logs"])
            listed = contents.model_dump_json().encode()
            member = tarfile.TarInfo(CONTENTS)
            member.size = len(listed)
            archive.addfile(member, io.BytesIO(listed))
        file.flush()
        os.fsync(file.fileno())
    return contents


def _unpack(source: Path, target: Path) -> Contents:
    """Unpack what a backup may hold and nothing else, compare it with its names, and all of it with what it must be."""
    counts = dict.fromkeys(ARCHIVES, 0)
    database, listed = "", None
    for kind in ARCHIVES:
        (target / kind).mkdir()
    with tarfile.open(source, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else None
            kept = _KEPT.fullmatch(member.name)
            if content is not None and kept:
                _write(content, target / member.name)
                _compare(target / member.name, kept[3])
                counts[kept[1]] += 1
            elif content is not None and member.name == DATABASE:
                database = _write(content, target / DATABASE)
            elif content is not None and member.name == CONTENTS:
                listed = content.read(_CONTENTS_BYTES)
            else:
                raise DatabaseError(
                    f"{source} is not a Settle backup: it contains {member.name[:100]!r}", hint=_ANOTHER
                )
    if listed is None:
        raise DatabaseError(f"{source} is incomplete: its end is missing", hint=_ANOTHER)
    contents = Contents.model_validate_json(listed)
    if (contents.database_sha256, contents.events, contents.logs) != (database, counts["events"], counts["logs"]):
        raise DatabaseError(f"{source} is damaged: its contents differ from their list", hint=_ANOTHER)
    return contents


def _write(content: IO[bytes], path: Path) -> str:
    digest = hashlib.sha256()
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:  # nothing is in a backup twice
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _compare(path: Path, digest: str) -> None:
    with gzip.open(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise DatabaseError(f"{path.name} is damaged: its contents differ from their hash", hint=_ANOTHER)


@contextmanager
def _archive_errors(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, ValidationError, FileExistsError) as error:
        raise DatabaseError(f"{path} is not a complete Settle backup: {error}", hint=_ANOTHER) from None
    except (OSError, sqlite3.Error) as error:
        raise disk_full(error) or DatabaseError(
            f"{path} cannot be {done}: {error}", hint="check the paths and their permissions"
        ) from None
