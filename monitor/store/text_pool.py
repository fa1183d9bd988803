"""Writes each distinct check result and verdict once: a year of days brings few new ones."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

_BYTES = 8


def digest_of(*values: str | None) -> int:
    """Return a number that is the same for equal values, and in practice for no others."""
    text = json.dumps(values, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_BYTES], signed=True)


def write_check_results(db: Database, results: Iterable[tuple[str | None, ...]]) -> list[int]:
    """Write those that are new, as the columns of ``check_results``; return the digests of all."""
    return _write(db, "INSERT OR IGNORE INTO check_results VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", results)


def write_verdicts(db: Database, verdicts: Iterable[tuple[str | None, ...]]) -> list[int]:
    """Write those that are new, as the columns of ``verdicts``; return the digests of all."""
    return _write(db, "INSERT OR IGNORE INTO verdicts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", verdicts)


def _write(db: Database, sql: str, rows: Iterable[tuple[str | None, ...]]) -> list[int]:
    digests = [(digest_of(*row), row) for row in rows]
    db.conn.executemany(sql, [(digest, *row) for digest, row in digests])
    return [digest for digest, _ in digests]


def delete_unused(db: Database) -> None:
    """Delete check results and verdicts that no row references."""
    db.execute("DELETE FROM check_results WHERE number NOT IN (SELECT result FROM run_checks)")
    db.execute(
        "DELETE FROM verdicts WHERE number NOT IN"
        " (SELECT verdict FROM day_verdicts UNION SELECT verdict FROM rung_verdicts)"
    )
