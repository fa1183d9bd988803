"""What checks and days have said, each thing once: a year of days says little that is new."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

_BYTES = 8
TABLES = """
CREATE TABLE findings ( -- what checks have said, each thing once
    number INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL UNIQUE, -- of all that follows
    name TEXT NOT NULL, -- the check
    rung TEXT NOT NULL, -- step of the support ladder
    outcome TEXT NOT NULL, -- passed, failed, unknown, skipped or not-reached
    fault TEXT NOT NULL, -- slug of docs/checks.md; empty when nothing failed
    blame TEXT, -- whose fault it is
    message TEXT NOT NULL, -- what was seen
    signature TEXT NOT NULL, -- the same for the same failure, across paths and numbers
    evidence TEXT -- JSON
) STRICT;
CREATE TABLE opinions ( -- what cells' days and their rungs came to, each thing once
    number INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL UNIQUE, -- of all that follows
    verdict TEXT NOT NULL, -- of a cell: works, broken, flaky, unknown; of a rung: passed, failed and so on
    rung TEXT, -- its own, or the one that decided a cell's verdict
    reason TEXT NOT NULL, -- in words
    blame TEXT, -- whose fault it is
    fault TEXT NOT NULL, -- slug of docs/checks.md; empty when nothing failed
    signature TEXT NOT NULL -- the same for the same failure, across paths and numbers
) STRICT;
"""


def digest_of(*said: str | None) -> int:
    """Return a number for what was said: the same for the same words, and for no others that anybody will meet."""
    text = json.dumps(said, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_BYTES], signed=True)


def keep_findings(db: Database, findings: Iterable[tuple[str | None, ...]]) -> list[int]:
    """Keep what checks said, as the columns of ``findings`` have it; return their digests."""
    return _keep(db, "INSERT OR IGNORE INTO findings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", findings)


def keep_opinions(db: Database, opinions: Iterable[tuple[str | None, ...]]) -> list[int]:
    """Keep what days came to, as the columns of ``opinions`` have it; return their digests."""
    return _keep(db, "INSERT OR IGNORE INTO opinions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", opinions)


def _keep(db: Database, sql: str, said: Iterable[tuple[str | None, ...]]) -> list[int]:
    known = list(said)
    digests = [digest_of(*one) for one in known]
    db.conn.executemany(sql, [(digest, *one) for digest, one in zip(digests, known, strict=True)])
    return digests


def forget_unsaid(db: Database) -> None:
    """Remove what no check and no day says any more."""
    db.execute("DELETE FROM findings WHERE number NOT IN (SELECT finding FROM checked)")
    db.execute(
        "DELETE FROM opinions WHERE number NOT IN"
        " (SELECT opinion FROM judged_days UNION SELECT opinion FROM judged_rungs)"
    )


def teach_digest(db: Database) -> None:
    """Let SQL name what was said, for the one time that a migration moves it."""
    db.conn.create_function("digest_of", -1, lru_cache(1 << 14)(digest_of), deterministic=True)
