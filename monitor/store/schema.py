"""The database's shape, one migration a step; facts are append-only, and the database itself holds them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store import listings, parity
from monitor.store.outbox import TABLES as OUTBOX
from monitor.store.published_schema import PUBLISHED, PUBLISHED_FACTS, REVISED
from monitor.store.sqlite import Migrations
from monitor.store.views import BY_RELEASE, CURRENT, MATRIX, VIEWS

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x5E771E  # "SETTLE", as far as hexadecimal can spell it
MIGRATIONS = Migrations("settle")

# nothing here may be changed or removed once it is written; what it means is derived and lives in other tables
_FIRST_FACTS = ("environments", "resolutions", "sessions", "endings", "runs", "facts", "carries")
FACT_TABLES = (*_FIRST_FACTS, "departures", "goldens", *PUBLISHED_FACTS, *listings.FACTS, "announcements")

_CATALOGUE = """
CREATE TABLE models (
    id TEXT PRIMARY KEY,
    family TEXT NOT NULL,
    architecture TEXT NOT NULL,
    kind TEXT NOT NULL,
    organisation TEXT NOT NULL,
    released TEXT, -- day of the first public commit with weights; NULL when no source is known
    released_source TEXT NOT NULL,
    license TEXT NOT NULL,
    note TEXT NOT NULL,
    control INTEGER NOT NULL
) STRICT;
CREATE TABLE subjects (
    id TEXT PRIMARY KEY,
    model_id TEXT NOT NULL REFERENCES models (id),
    form TEXT NOT NULL,
    architecture TEXT NOT NULL,
    digest TEXT NOT NULL,
    qualified INTEGER NOT NULL,
    first_known TEXT NOT NULL,
    control INTEGER NOT NULL
) STRICT;
CREATE TABLE cells (
    id TEXT PRIMARY KEY,
    subject_id TEXT NOT NULL REFERENCES subjects (id),
    runtime TEXT NOT NULL,
    channel TEXT NOT NULL,
    platform TEXT NOT NULL
) STRICT;
CREATE INDEX cells_by_subject ON cells (subject_id);
CREATE TABLE releases (
    runtime TEXT NOT NULL,
    version TEXT NOT NULL,
    channel TEXT NOT NULL,
    published_at TEXT NOT NULL,
    yanked TEXT NOT NULL,
    PRIMARY KEY (runtime, version)
) STRICT, WITHOUT ROWID;
"""

_FACTS = """
CREATE TABLE environments (
    digest TEXT PRIMARY KEY,
    runtime TEXT NOT NULL,
    version TEXT NOT NULL,
    platform TEXT NOT NULL,
    base_digest TEXT NOT NULL,
    lock TEXT NOT NULL,
    packages TEXT NOT NULL, -- JSON: name to version
    created_at TEXT NOT NULL,
    resolve_s REAL NOT NULL,
    build_s REAL NOT NULL
) STRICT;
CREATE TABLE resolutions (
    id TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    runtime TEXT NOT NULL,
    channel TEXT NOT NULL,
    platform TEXT NOT NULL,
    requested TEXT NOT NULL,
    version TEXT NOT NULL,
    cutoff TEXT,
    at TEXT NOT NULL,
    seconds REAL NOT NULL,
    environment_digest TEXT REFERENCES environments (digest),
    failed TEXT, -- stage
    fault TEXT NOT NULL,
    message TEXT NOT NULL,
    log_digest TEXT NOT NULL
) STRICT;
CREATE INDEX resolutions_by_day ON resolutions (day);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    environment_digest TEXT NOT NULL REFERENCES environments (digest),
    suite TEXT NOT NULL,
    engine TEXT NOT NULL,
    solo INTEGER NOT NULL,
    limit_factor INTEGER NOT NULL,
    request_digest TEXT NOT NULL,
    started_at TEXT NOT NULL
) STRICT;
CREATE TABLE endings ( -- a session without one was interrupted
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    finished_at TEXT NOT NULL,
    ending TEXT NOT NULL, -- JSON
    log_digest TEXT NOT NULL,
    log_dropped_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    cell_id TEXT NOT NULL REFERENCES cells (id),
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    session_id TEXT REFERENCES sessions (id), -- NULL where the installation failed
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    purpose TEXT NOT NULL,
    version TEXT NOT NULL,
    environment TEXT NOT NULL,
    suite TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    solo INTEGER NOT NULL,
    limit_factor INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    seconds REAL NOT NULL,
    ending TEXT NOT NULL, -- JSON
    events_digest TEXT NOT NULL,
    events_problem TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_run_a_cell_and_session ON runs (coalesce(session_id, resolution_id), cell_id);
CREATE INDEX runs_by_cell ON runs (cell_id, day);
CREATE INDEX runs_by_environment ON runs (day, environment);
CREATE TABLE facts (
    run_id TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX facts_by_run ON facts (run_id, name);
CREATE TABLE carries (
    cell_id TEXT NOT NULL REFERENCES cells (id),
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    source_day TEXT NOT NULL,
    PRIMARY KEY (cell_id, day, origin)
) STRICT, WITHOUT ROWID;
"""

_DEPARTURES = """
CREATE TABLE departures ( -- packages of a past day's lock that nobody could have had on that day
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    package TEXT NOT NULL,
    version TEXT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (resolution_id, package)
) STRICT, WITHOUT ROWID;
"""

_DERIVED = """
CREATE TABLE checks (
    run_id TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    rung TEXT NOT NULL,
    outcome TEXT NOT NULL,
    fault TEXT NOT NULL,
    blame TEXT,
    message TEXT NOT NULL,
    signature TEXT NOT NULL,
    seconds REAL NOT NULL,
    evidence TEXT, -- JSON
    PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX checks_by_signature ON checks (signature) WHERE signature != '';
CREATE TABLE days (
    cell_id TEXT NOT NULL REFERENCES cells (id),
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rung TEXT,
    reason TEXT NOT NULL,
    blame TEXT,
    fault TEXT NOT NULL,
    signature TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    version TEXT NOT NULL,
    environment TEXT NOT NULL,
    suite TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    carried_from TEXT,
    leaning TEXT,
    note TEXT NOT NULL,
    PRIMARY KEY (cell_id, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX days_by_day ON days (day);
CREATE TABLE day_rungs (
    cell_id TEXT NOT NULL,
    day TEXT NOT NULL,
    step INTEGER NOT NULL,
    rung TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    blame TEXT,
    fault TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (cell_id, day, step),
    FOREIGN KEY (cell_id, day) REFERENCES days (cell_id, day) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE flips (
    id INTEGER PRIMARY KEY,
    cell_id TEXT NOT NULL REFERENCES cells (id),
    day TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    confirmed TEXT NOT NULL,
    announced_at TEXT,
    withdrawn INTEGER NOT NULL DEFAULT 0, -- announced once, and no longer derived
    UNIQUE (cell_id, day, after)
) STRICT;
CREATE INDEX unannounced_flips ON flips (day) WHERE announced_at IS NULL;
"""


_ANSWERS = """
CREATE TABLE answers ( -- derived: what the latest runs by hand say of one version
    cell_id TEXT NOT NULL REFERENCES cells (id),
    version TEXT NOT NULL,
    day TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rung TEXT,
    reason TEXT NOT NULL,
    blame TEXT,
    fault TEXT NOT NULL,
    signature TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (cell_id, version)
) STRICT, WITHOUT ROWID;
"""


_GOLDENS = """
CREATE TABLE goldens (
    subject_digest TEXT PRIMARY KEY,
    runtime TEXT NOT NULL,
    version TEXT NOT NULL,
    day TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    trace TEXT NOT NULL -- JSON: prompts, and the likeliest tokens after each position with their log-probabilities
) STRICT, WITHOUT ROWID;
"""


@MIGRATIONS()
def m001_catalogue(db: Database) -> None:
    _run(db, _CATALOGUE)


@MIGRATIONS()
def m002_facts(db: Database) -> None:
    _run(db, _FACTS)
    for table in _FIRST_FACTS:
        _append_only(db, table)


@MIGRATIONS()
def m003_derived(db: Database) -> None:
    _run(db, _DERIVED)


@MIGRATIONS()
def m004_views(db: Database) -> None:
    for statement in VIEWS:
        db.execute(statement)


@MIGRATIONS()
def m005_replay(db: Database) -> None:
    """Keep a carried day's rungs where it is carried from, and what a replay could not rebuild as facts."""
    _run(db, _DEPARTURES)
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
    _run(db, _ANSWERS)
    db.execute(BY_RELEASE)


@MIGRATIONS()
def m008_goldens(db: Database) -> None:
    """Keep what the reference says of a subject's files, pinned and dated."""
    _run(db, _GOLDENS)
    _append_only(db, "goldens")


@MIGRATIONS()
def m009_published(db: Database) -> None:
    """Keep what is found of published models: when, which revisions, what became of them."""
    _run(db, PUBLISHED)
    for table in PUBLISHED_FACTS:
        _append_only(db, table)
    db.execute(REVISED)


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
def m014_parity(db: Database) -> None:
    """Answer how far runtimes are from the reference, and why where somebody has found out."""
    _run(db, parity.CAUSES)
    db.execute(parity.INDEX)
    db.execute(parity.PARITY)


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
