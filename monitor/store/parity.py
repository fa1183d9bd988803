"""How far each runtime's log-probabilities are from the pinned reference's, by release, and why where that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.store.rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlite_utils import Database

    from monitor.judge.parity import ParityCause


def parity(db: Database) -> list[dict[str, Any]]:
    """Return the whole view, release by release."""
    return rows(db, "SELECT * FROM parity ORDER BY runtime, version, family, subject")


def write_causes(db: Database, causes: Iterable[ParityCause]) -> None:
    """Replace the list; the caller holds the transaction."""
    db.execute("DELETE FROM parity_causes")
    db.conn.executemany(
        "INSERT INTO parity_causes VALUES (?, ?, ?)",
        [(str(runtime), cause.architecture, cause.found) for cause in causes for runtime in cause.runtimes],
    )


def cause_of(db: Database, runtime: str, architecture: str) -> str:
    """Return why the runtime's numbers differ for an architecture, "" where that is not known."""
    sql = "SELECT cause FROM parity_causes WHERE runtime = ? AND architecture = ?"
    found = rows(db, sql, (runtime, architecture))
    return str(found[0]["cause"]) if found else ""
