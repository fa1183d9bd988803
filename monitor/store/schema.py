"""The database's shape, one migration a step; facts are append-only, and the database itself holds them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store import listings, parity, tables
from monitor.store.compact_tables import number_what_is_derived
from monitor.store.facts import TABLES as TOLD
from monitor.store.outbox import TABLES as OUTBOX
from monitor.store.published_schema import DESCRIPTIONS, FETCHES, PUBLISHED, PUBLISHED_FACTS, REVISED
from monitor.store.sqlite import Migrations
from monitor.store.views import BY_RELEASE, CURRENT, MATRIX, VIEWS

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATIONS = Migrations("settle")

# nothing here may be changed or removed once it is written; what it means is derived and lives in other tables
_FIRST_FACTS = ("environments", "resolutions", "sessions", "endings", "runs", "facts", "carries")
FACT_TABLES = (
    *(name for name in _FIRST_FACTS if name != "facts"),
    "departures",
    "goldens",
    *PUBLISHED_FACTS,
    "fetches",
    *listings.FACTS,
    "announcements",
    *TOLD,
)


@MIGRATIONS()
def m001_catalogue(db: Database) -> None:
    _run(db, tables.CATALOGUE)


@MIGRATIONS()
def m002_facts(db: Database) -> None:
    _run(db, tables.FACTS)
    for table in _FIRST_FACTS:
        _append_only(db, table)


@MIGRATIONS()
def m003_derived(db: Database) -> None:
    _run(db, tables.DERIVED)


@MIGRATIONS()
def m004_views(db: Database) -> None:
    for statement in VIEWS:
        db.execute(statement)


@MIGRATIONS()
def m005_replay(db: Database) -> None:
    """Keep a carried day's rungs where it is carried from, and what a replay could not rebuild as facts."""
    _run(db, tables.DEPARTURES)
    _append_only(db, "departures")
    db.execute(
        "DELETE FROM day_rungs WHERE (cell_id, day) IN (SELECT cell_id, day FROM days WHERE carried_from IS NOT NULL)"
    )
    db.execute("DROP VIEW matrix")
    db.execute(MATRIX)


@MIGRATIONS()
def m006_notes(db: Database) -> None:
    """Let ``current`` tell a day's note, as ``history`` does: whoever asks how things are would miss it."""
    db.execute("DROP VIEW current")
    db.execute(CURRENT)


@MIGRATIONS()
def m007_answers(db: Database) -> None:
    """Keep what was asked by hand of one version, which no day's history has."""
    _run(db, tables.ANSWERS)
    db.execute(BY_RELEASE)


@MIGRATIONS()
def m008_goldens(db: Database) -> None:
    """Keep what the reference says of a subject's files, pinned and dated."""
    _run(db, tables.GOLDENS)
    _append_only(db, "goldens")


@MIGRATIONS()
def m009_published(db: Database) -> None:
    """Keep what is found of published models: when, which revisions, what became of them."""
    _run(db, PUBLISHED)
    for table in PUBLISHED_FACTS:
        _append_only(db, table)
    db.execute(REVISED)


@MIGRATIONS()
def m009_descriptions(db: Database) -> None:
    """Keep what a derived miniature is made from with the history, so that it comes back with a backup."""
    db.execute(DESCRIPTIONS)


@MIGRATIONS()
def m010_listings(db: Database) -> None:
    """Keep what the sources of releases list, and what happens to it after a release is out."""
    _run(db, listings.TABLES)
    for table in listings.FACTS:
        _append_only(db, table)


@MIGRATIONS()
def m011_alerts(db: Database) -> None:
    """Keep what was told, what is still to be sent, and up to where was looked for news."""
    _run(db, OUTBOX)
    _append_only(db, "announcements")


@MIGRATIONS()
def m013_numbers(db: Database) -> None:
    """Say once what checks and days say again and again, or ten million checks are gigabytes."""
    number_what_is_derived(db)
    for table in TOLD:
        _append_only(db, table)


@MIGRATIONS()
def m014_parity(db: Database) -> None:
    """Answer how far runtimes are from the reference, and why where somebody has found out."""
    _run(db, parity.CAUSES)
    db.execute(parity.PARITY)


@MIGRATIONS()
def m015_fetches(db: Database) -> None:
    """Keep which revisions' full weights were fetched: each is fetched once."""
    _run(db, FETCHES)
    _append_only(db, "fetches")


def _append_only(db: Database, table: str) -> None:
    for verb in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} are facts: they are only added'); END"
        )


def _run(db: Database, script: str) -> None:
    """Run the statements one by one: ``executescript`` would commit the migration's transaction first."""
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)
