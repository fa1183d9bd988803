"""A whole history in one compressed file, as the project ships it: packed, unpacked, and its answers kept."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import containers
import monitor
from monitor.store.opening import SHAPE, bring_up_to_date, database_errors, is_marked
from monitor.store.reader import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable

_STAMP = "shipped.sha256"
# the answers of every run position by position, two thirds of the bytes; the notes that come of them stay
_LESS = (
    "DELETE FROM run_facts WHERE name IN ('logprobs', 'trace')",
    "DELETE FROM fact_values WHERE number NOT IN (SELECT value FROM run_facts WHERE value IS NOT NULL)",
)
_GUARDS = ("run_facts_never_delete", "fact_values_never_delete")


def pack(home: Path, target: Path) -> None:
    """Write a copy of the home's database, consistent whatever is written meanwhile, without the largest facts."""
    aside = target.with_suffix(".tmp")
    aside.unlink(missing_ok=True)
    with (
        database_errors(home),
        closing(sqlite3.connect(home / DATABASE)) as source,
        closing(sqlite3.connect(aside)) as copy,
    ):
        source.backup(copy)
        guards = [
            copy.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0] for name in _GUARDS
        ]
        for statement in (*(f"DROP TRIGGER {name}" for name in _GUARDS), *_LESS, *guards):
            copy.execute(statement)
        copy.commit()
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("VACUUM")
    target.write_bytes(lzma.compress(aside.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    aside.unlink()


def unpack(packed: bytes, home: Path) -> None:
    """Put a packed history into the home, unless it is there. Raises DatabaseError where that cannot be written."""
    digest = hashlib.sha256(packed + str(SHAPE).encode()).hexdigest()
    stamp, database = home / _STAMP, home / DATABASE
    with database_errors(database):
        if database.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == digest:
            return
        home.mkdir(parents=True, exist_ok=True)
        aside = database.with_suffix(".tmp")
        aside.write_bytes(lzma.decompress(packed))
        with closing(sqlite3.connect(aside)) as connection:
            if not is_marked(connection):  # it is shipped as it was packed, by whatever settle that was
                from monitor.store.schema import Database

                bring_up_to_date(Database(connection))
        for old in (*home.glob(f"{DATABASE}-*"), *home.glob("answer-*")):
            old.unlink()
        aside.replace(database)
        stamp.write_text(digest, encoding="ascii")


def kept_answer(home: Path, question: object, compute: Callable[[], Any]) -> Any:
    """Return ``compute()``, a JSON value; over a shipped history, which stays as it is, compute it once and keep it.

    The file's name is the digest of the question, of the database and of the code.
    """
    stamp = home / _STAMP
    if not stamp.exists():
        return compute()
    written = (home / DATABASE).stat()
    key = [question, stamp.read_text(encoding="ascii"), written.st_mtime_ns, written.st_size, _code_version()]
    file = home / f"answer-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError):
        return json.loads(file.read_text(encoding="utf-8"))
    answer = compute()
    with suppress(OSError):  # the answer is there; keeping it only saves time
        aside = file.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(answer), encoding="utf-8")
        aside.replace(file)
    return answer


def _code_version() -> str:
    """Return a digest that another version of the code changes, a working copy's edited file included."""
    packages = [Path(package.__path__[0]) for package in (monitor, containers)]
    files = sorted(file for package in packages for file in package.rglob("*.py"))
    stats = [(str(file), stat.st_mtime_ns, stat.st_size) for file in files for stat in (file.stat(),)]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()
