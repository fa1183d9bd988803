"""How far each runtime's log-probabilities are from the pinned reference's, by release, and why where that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.store.rows import first_row, select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

    from monitor.judge.parity import ParityCause


def parity(db: Database) -> list[dict[str, Any]]:
    """Return the whole view, release by release."""
    return select(db, "SELECT * FROM parity ORDER BY runtime, version, family, subject")


def write_causes(db: Database, causes: Iterable[ParityCause]) -> None:
    """Replace the list; the caller holds the transaction."""
    db.execute("DELETE FROM parity_causes")
    db.conn.executemany(
        "INSERT INTO parity_causes VALUES (?, ?, ?)",
        [(str(runtime), cause.architecture, cause.explanation) for cause in causes for runtime in cause.runtimes],
    )


def cause_of(db: Database, runtime: str, architecture: str) -> str:
    """Return why the runtime's numbers differ for an architecture, "" where that is not known."""
    sql = "SELECT cause FROM parity_causes WHERE runtime = ? AND architecture = ?"
    row = first_row(db, sql, runtime, architecture)
    return str(row["cause"]) if row else ""
