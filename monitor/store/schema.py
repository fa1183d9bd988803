"""The database's shape as migrations, and what the comments in it mean; the database itself keeps facts append-only."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.store.indexes import INDEXES
from monitor.store.renaming import rename_models
from monitor.store.tables import ANSWERS, FACT_TABLES, GOLDENS, LAYOUT_TABLES, LAYOUTS, TABLES, TRACE_TABLES, TRACES
from monitor.store.views import BY_RELEASE, PARITY, VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# sqlite-utils imports pandas and numpy wherever they are installed, only to know their types; numpy alone takes longer
# to start than most commands
_modules: dict[str, Any] = sys.modules
_hidden = [name for name in ("pandas", "numpy") if name not in _modules]
_modules.update(dict.fromkeys(_hidden))
try:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations
finally:
    for _name in _hidden:
        del _modules[_name]

__all__ = ["MIGRATIONS", "Column", "Database", "Described", "described"]

MIGRATIONS = Migrations("settle")


@MIGRATIONS()
def m016_schema(db: Database) -> None:
    """Make every table and view; ``conversion`` takes over what the fifteen migrations of 0.1.0 made."""
    for script in (*TABLES, *VIEWS):
        _execute(db, script)
    _forbid_changes(db, FACT_TABLES)


def _execute(db: Database, script: str) -> None:
    # ``executescript`` would commit the migration's transaction first
    for statement in filter(str.strip, script.split(";\n")):
        db.execute(statement)


def _forbid_changes(db: Database, tables: Iterable[str]) -> None:
    for table in tables:
        for verb in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} are facts: they are only added'); END"
            )


@MIGRATIONS()
def m017_release_days(db: Database) -> None:
    """Give models what is known of their release day, and their published ids; a new database has the columns."""
    if "created" not in {column for _, column, *_ in db.execute("PRAGMA table_info(models)").fetchall()}:
        for column in ("created", "released_kind", "released_confidence"):
            db.execute(f"ALTER TABLE models ADD COLUMN {column} TEXT")
    rename_models(db)


@MIGRATIONS()
def m018_traces(db: Database) -> None:
    """Keep what every release answers, and let a reference be followed by another."""
    _execute(db, TRACES)
    _forbid_changes(db, TRACE_TABLES)
    db.execute("DROP VIEW parity")
    db.execute("ALTER TABLE goldens RENAME TO goldens_before")
    _execute(db, GOLDENS)
    columns = "subject_digest, runtime, version, day, run_id, trace"
    db.execute(f"INSERT INTO goldens ({columns}) SELECT {columns} FROM goldens_before")  # noqa: S608 - the constant
    db.execute("DROP TABLE goldens_before")
    _forbid_changes(db, ("goldens",))
    _execute(db, PARITY)


@MIGRATIONS()
def m019_indexes(db: Database) -> None:
    """Add the indexes that the questions of a tick need."""
    for statement in INDEXES:
        db.execute(statement)


@MIGRATIONS()
def m020_causes(db: Database) -> None:
    """Say of a cause whose fault it is; a new database has the column."""
    if "of_reference" not in {column for _, column, *_ in db.execute("PRAGMA table_info(parity_causes)").fetchall()}:
        db.execute("ALTER TABLE parity_causes ADD COLUMN of_reference INTEGER NOT NULL DEFAULT 0")


@MIGRATIONS()
def m021_installed_as_of(db: Database) -> None:
    """Keep apart the day whose packages were installed beside a pinned version; a new database has the columns."""
    if any(column == "installed" for _, column, *_ in db.execute("PRAGMA table_info(runs)").fetchall()):
        return
    answers = db.execute("SELECT * FROM answers").fetchall()
    for view in ("by_release", "parity"):
        db.execute(f"DROP VIEW {view}")
    db.execute("DROP TABLE answers")
    db.execute("ALTER TABLE runs ADD COLUMN installed TEXT NOT NULL DEFAULT 'run-day'")
    db.execute(ANSWERS)
    db.conn.executemany(
        # which rungs they reached is in the checks of their runs: `rejudge` writes it
        "INSERT INTO answers VALUES (?, ?, 'run-day', ?, ?, ?, ?, ?, ?, ?, ?, '{}')",
        answers,
    )
    for view_sql in (BY_RELEASE, PARITY):
        db.execute(view_sql)


@MIGRATIONS()
def m022_depth(db: Database) -> None:
    """Say of a run whether it asked the deep part; earlier ones asked all there was."""
    if not any(column == "deep" for _, column, *_ in db.execute("PRAGMA table_info(runs)").fetchall()):
        db.execute("ALTER TABLE runs ADD COLUMN deep INTEGER NOT NULL DEFAULT 1")


@MIGRATIONS()
def m023_layouts(db: Database) -> None:
    """Keep the layout of published weights, and how it compares with the miniature's."""
    _execute(db, LAYOUTS)
    _forbid_changes(db, LAYOUT_TABLES)


_MEANING = re.compile(r"^CREATE (?:TABLE \w+ \(|VIEW \w+ AS) *-- (.+)")
_SHOWN = re.compile(r"(\w+)\.(\w+) AS (\w+)")
# under a view that reads better
_INNER = frozenset(
    {"run_checks", "check_results", "day_verdicts", "rung_verdicts", "verdicts", "run_facts", "fact_values"}
)
_ALIASES = {"latest": "days"}  # what a view calls a part of itself


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # "" where a view computes it
    meaning: str


@dataclass(frozen=True, slots=True)
class Described:
    name: str
    is_view: bool
    meaning: str
    columns: tuple[Column, ...]
    sql: str

    @property
    def is_inner(self) -> bool:
        """Return whether a view shows the same in a form that reads better."""
        return self.name in _INNER


def described() -> tuple[Described, ...]:
    """Return the tables and views of a new database, views first."""
    db = Database(memory=True, execute_plugins=False)
    MIGRATIONS.apply(db)
    rows = db.execute(
        "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('view', 'table') AND name NOT LIKE '\\_%' ESCAPE '\\'"
        " AND name NOT LIKE 'sqlite%' ORDER BY type DESC, name"
    ).fetchall()
    sources = {name: sql for name, _, sql in rows}
    descriptions = []
    for name, kind, sql in rows:
        meaning = _MEANING.match(sql)
        columns = tuple(
            Column(column, type_, _column_meaning(sources, name, column))
            for _, column, type_, *_ in db.execute(f"PRAGMA table_info({name})").fetchall()
        )
        descriptions.append(Described(name, kind == "view", meaning[1] if meaning else "", columns, sql))
    return tuple(descriptions)


def _column_meaning(sources: Mapping[str, str], name: str, column: str) -> str:
    """Return the comment behind a column, in a view that of the column which it shows."""
    sql = sources.get(name, "")
    if sql.startswith("CREATE TABLE"):
        comment = re.search(rf"^ *{column} [^\n]*?-- (.+)", sql, re.MULTILINE)
        return comment[1] if comment else ""
    comment = re.search(rf"AS {column},? -- (.+)", sql)
    if comment:
        return comment[1]
    shown = next((match for match in _SHOWN.finditer(sql) if match[3] == column), None)
    return _column_meaning(sources, _ALIASES.get(shown[1], shown[1]), shown[2]) if shown else ""
