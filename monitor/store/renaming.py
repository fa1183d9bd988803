"""Gives models of the catalogue their published ids in a history that was recorded under former ones."""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlite_utils import Database


class CurrentIds(NamedTuple):
    """What a model of the catalogue and its subject are called today; they were called the same before."""

    model: str
    subject: str


@cache
def former_names() -> Mapping[str, CurrentIds]:
    """Return today's ids by the former one."""
    text = (files("monitor") / "data" / "renamed.csv").read_text(encoding="utf-8")
    return {row["before"]: CurrentIds(row["model"], row["subject"]) for row in csv.DictReader(io.StringIO(text))}


def names_over_time(subject_id: str) -> set[str]:
    """Return the id of a subject with its former ones, which logs and requests of old runs have."""
    return {subject_id, *(before for before, after in former_names().items() if after.subject == subject_id)}


def rename_models(db: Database) -> None:
    """Write today's ids over former ones, in facts too: the same thing keeps its history under its published name.

    The connection enforces no foreign keys. Where both ids have a history already, both stay as they are.
    """
    known = {row[0] for row in db.execute("SELECT id FROM models UNION SELECT id FROM subjects").fetchall()}
    renamed = {before: after for before, after in former_names().items() if before in known and not known & set(after)}
    if not renamed:
        return
    guards = db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '%_update'"
    ).fetchall()
    for name, _ in guards:
        db.execute(f"DROP TRIGGER {name}")
    for before, after in renamed.items():
        _rename(db, before, after)
    for _, sql in guards:
        db.execute(sql)


def _rename(db: Database, before: str, after: CurrentIds) -> None:
    for name, ids, today in (
        ("model_id", {"models": "id"}, after.model),
        ("subject_id", {"subjects": "id"}, after.subject),
    ):
        for table, column in _columns(db, name, ids):
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (today, before))  # noqa: S608 - the schema's
    for table, column in _columns(db, "cell_id", {"cells": "id"}):
        db.execute(
            f"UPDATE {table} SET {column} = ?2 || substr({column}, length(?1) + 1)"  # noqa: S608 - as above
            f" WHERE substr({column}, 1, length(?1) + 1) = ?1 || '@'",
            (before, after.subject),
        )
    for (key,) in db.execute("SELECT key FROM announcements WHERE instr(key, ?)", (f":{before}",)).fetchall():
        kind, _, about = key.partition(":")  # about a model or a cell
        if about == before or about.startswith(f"{before}@"):
            today = f"{kind}:{after.model if about == before else after.subject}{about[len(before) :]}"
            db.execute("UPDATE announcements SET key = ? WHERE key = ?", (today, key))


def _columns(db: Database, name: str, ids: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the tables' columns of this name, and the ``ids`` columns by table."""
    rows = db.execute(
        "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns"
        " WHERE tables.type = 'table' AND tables.name NOT GLOB '_*' AND tables.name NOT GLOB 'sqlite*'"
    ).fetchall()
    return [(table, column) for table, column in rows if column == name or ids.get(table) == column]
