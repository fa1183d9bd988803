"""Converts a database of version 0.1.0, once and in one transaction; to be deleted when none is left."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from monitor.errors import DatabaseError
from monitor.store.renaming import rename_models
from monitor.store.schema import MIGRATIONS
from monitor.store.text_pool import digest_of

if TYPE_CHECKING:
    from sqlite_utils import Database

_FORMER_MIGRATIONS = frozenset(
    {
        "m001_catalogue",
        "m002_facts",
        "m003_derived",
        "m004_views",
        "m005_replay",
        "m006_notes",
        "m007_answers",
        "m008_goldens",
        "m009_published",
        "m009_descriptions",
        "m010_listings",
        "m011_alerts",
        "m013_numbers",
        "m014_parity",
        "m015_fetches",
    }
)
_FORMER_NAMES = {
    "run_facts": "told",
    "fact_values": "told_values",
    "check_results": "findings",
    "run_checks": "checked",
    "verdicts": "opinions",
    "day_verdicts": "judged_days",
    "rung_verdicts": "judged_rungs",
    "hub_listings": "listings",
}
# by table and column, or by column alone: from what it is made of the former table
_FORMER_COLUMNS = {
    "fault": "CASE WHEN fault LIKE 'bench-%' THEN 'infra-' || substr(fault, 7) ELSE fault END",
    "blame": "CASE blame WHEN 'bench' THEN 'infra' ELSE blame END",
    "releases.compatibility": "fit",
    "departures.reason": "why",
    "parity_causes.cause": "found",
    "parity_causes.of_reference": "0",
    "run_checks.result": "finding",
    "day_verdicts.verdict": "opinion",
    "rung_verdicts.verdict": "opinion",
    "announcements.key": "replace(key, ':bench-', ':infra-')",
    "models.created": "NULL",
    "models.released_kind": "NULL",
    "models.released_confidence": "NULL",
    "runs.installed": "'run-day'",
    "runs.deep": "1",
    "answers.installed": "'run-day'",
    "answers.rungs": "'{}'",
}
_DIGESTS = {
    "check_results": ("name", "rung", "outcome", "fault", "blame", "message", "signature", "evidence"),
    "verdicts": ("verdict", "rung", "reason", "blame", "fault", "signature"),
}


def is_old(db: Database) -> bool:
    """Return whether the database was written by version 0.1.0 or earlier."""
    return any(applied.name in _FORMER_MIGRATIONS for applied in MIGRATIONS.applied(db))


def convert(db: Database) -> None:
    """Give an old database today's shape and words, and keep every row; its connection enforces no foreign keys.

    Raises DatabaseError for one that is older than 0.1.0.
    """
    missing = _FORMER_MIGRATIONS - {applied.name for applied in MIGRATIONS.applied(db)}
    if missing:
        raise DatabaseError(
            f"the database is older than 0.1.0 ({min(missing)} is missing) and cannot be converted",
            hint="let settle 0.1.0 bring it up to date, or begin a new history",
        )
    with db.atomic():
        db.conn.create_function("digest_of", -1, lru_cache(1 << 14)(digest_of), deterministic=True)
        for kind in ("view", "trigger", "index"):
            for (name,) in db.execute(
                "SELECT name FROM sqlite_schema WHERE type = ? AND sql NOT NULL AND tbl_name NOT GLOB '_*'", (kind,)
            ).fetchall():
                db.execute(f"DROP {kind} {name}")
        former = [name for name in db.table_names() if not name.startswith(("_", "sqlite"))]
        for name in former:
            db.execute(f"ALTER TABLE {name} RENAME TO former_{name}")
        db.execute("DELETE FROM _sqlite_migrations WHERE migration_set = ?", (MIGRATIONS.name,))
        MIGRATIONS.apply(db)
        for name, without_rowid in db.execute(
            "SELECT name, wr FROM pragma_table_list WHERE type = 'table' AND name NOT GLOB 'former_*'"
            " AND name NOT GLOB '_*' AND name NOT GLOB 'sqlite_*'"
        ).fetchall():
            if _FORMER_NAMES.get(name, name) in former:  # what came later has nothing to take over
                _copy(db, name, order="" if without_rowid else " ORDER BY rowid")
        for name in former:
            db.execute(f"DROP TABLE former_{name}")
        rename_models(db)


def _copy(db: Database, table: str, *, order: str) -> None:
    columns = [column for _, column, *_ in db.execute(f"PRAGMA table_info({table})").fetchall()]
    made = {column: _FORMER_COLUMNS.get(f"{table}.{column}", _FORMER_COLUMNS.get(column, column)) for column in columns}
    if table in _DIGESTS:
        made["digest"] = f"digest_of({', '.join(made[column] for column in _DIGESTS[table])})"
    db.execute(
        f"INSERT INTO {table} ({', '.join(made)}) SELECT {', '.join(made.values())}"  # noqa: S608 - names of the schema
        f" FROM former_{_FORMER_NAMES.get(table, table)}{order}"
    )
