"""What every table, view and column means: read from the comments of the schema itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.store.schema import MIGRATIONS
from monitor.store.sqlite import Database

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEANING = re.compile(r"^CREATE (?:TABLE \w+ \(|VIEW \w+ AS) *-- (.+)")
_SOURCE = re.compile(r"(\w+)\.(\w+) AS (\w+)")
_UNDER = frozenset({"checked", "findings", "judged_days", "judged_rungs", "opinions", "told", "told_values"})
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
    def to_be_read(self) -> bool:
        """Tell whether a person asks it; what lies under a view that reads better is not."""
        return self.name not in _UNDER


def described() -> tuple[Described, ...]:
    """Return the tables and views of a new database, views first."""
    db = Database(memory=True, execute_plugins=False)
    MIGRATIONS.apply(db)
    found = db.execute(
        "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('view', 'table') AND name NOT LIKE '\\_%' ESCAPE '\\'"
        " AND name NOT LIKE 'sqlite%' ORDER BY type DESC, name"
    ).fetchall()
    sources = {name: sql for name, _, sql in found}
    told = []
    for name, kind, sql in found:
        meaning = _MEANING.match(sql)
        columns = tuple(
            Column(column, type_, _column_meaning(sources, name, column))
            for _, column, type_, *_ in db.execute(f"PRAGMA table_info({name})").fetchall()
        )
        told.append(Described(name, kind == "view", meaning[1] if meaning else "", columns, sql))
    return tuple(told)


def _column_meaning(sources: Mapping[str, str], name: str, column: str) -> str:
    """Return the comment beside a column, in a view that of the column which it shows."""
    sql = sources.get(name, "")
    if sql.startswith("CREATE TABLE"):
        beside = re.search(rf"^[ ,]*{column} [^\n]*?(?:-- (.+)|/\* (.+?) \*/)", sql, re.MULTILINE)
        return (beside[1] or beside[2]) if beside else ""
    beside = re.search(rf"AS {column},? -- (.+)", sql)
    if beside:
        return beside[1]
    shown = next((match for match in _SOURCE.finditer(sql) if match[3] == column), None)
    return _column_meaning(sources, _ALIASES.get(shown[1], shown[1]), shown[2]) if shown else ""
