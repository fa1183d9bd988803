"""A data directory of version 0.1.0 is converted once, keeps every row, and is then what a new one is."""

from __future__ import annotations

import lzma
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor import verdicts
from monitor.errors import DatabaseError
from monitor.store import open_reader, open_store
from monitor.store.reader import DATABASE
from monitor.store.schema import Database
from monitor.store.shipped import unpack
from monitor.store.tables import LAYOUT_TABLES, TRACE_TABLES

FORMER = lzma.decompress((Path(__file__).parents[1] / "data" / "version_0_1_0.db.xz").read_bytes())
NAMES = {
    "told": "run_facts",
    "told_values": "fact_values",
    "findings": "check_results",
    "checked": "run_checks",
    "opinions": "verdicts",
    "judged_days": "day_verdicts",
    "judged_rungs": "rung_verdicts",
    "listings": "hub_listings",
}
VIEWS = ("current", "history", "matrix", "by_release", "parity", "checks", "days", "day_rungs", "facts", "revised")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / DATABASE).write_bytes(FORMER)
    return tmp_path


def read(home: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(home / DATABASE)) as db:
        return db.execute(sql).fetchall()


def shown(home: Path, table: str) -> list[dict[str, Any]]:
    """Return every row, with what is blamed on our own machinery by today's name."""
    names = [row[1] for row in read(home, f"PRAGMA table_info({table})") if row[1] != "number"]
    rows = (dict(zip(names, row, strict=True)) for row in read(home, f"SELECT {', '.join(names)} FROM {table}"))  # noqa: S608 - names of the schema
    return sorted(
        ({name: today(name, value) for name, value in row.items()} for row in rows),
        key=lambda row: str(sorted(row.items())),
    )


def today(name: str, value: Any) -> Any:
    if name == "blame" and value == "bench":
        return "infra"
    return value.replace("bench-", "infra-") if name in {"fault", "key"} else value


def counted(home: Path) -> dict[str, int]:
    names = [name for (name,) in read(home, "SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {NAMES.get(name, name): len(shown(home, name)) for name in names if not name.startswith(("_", "sqlite_"))}


def test_the_old_data_is_worth_converting(home: Path) -> None:
    assert {"infra-engine", "infra-network"} <= {row["fault"] for row in shown(home, "checks")}
    for table in ("resolutions", "flips", "answers", "told", "departures", "parity_causes", "announcements", "outbox"):
        assert shown(home, table), table


@pytest.mark.parametrize("name", [*VIEWS, "flips", "resolutions", "runs", "answers", "announcements", "polls"])
def test_what_is_shown_stays(home: Path, name: str) -> None:
    before = shown(home, name)
    columns = {column for row in before for column in row}
    open_store(home).close()
    after = [{column: row[column] for column in row if column in columns} for row in shown(home, name)]
    assert sorted(after, key=str) == sorted(before, key=str)  # columns that came later are no part of it


def test_every_row_stays(home: Path) -> None:
    before = counted(home)
    open_store(home).close()
    assert counted(home) == {**before, **dict.fromkeys((*TRACE_TABLES, *LAYOUT_TABLES), 0)}
    assert read(home, "PRAGMA foreign_key_check") == []


def judgement(row: dict[str, Any]) -> dict[str, Any]:
    """Return a day without its sentences, which differ between releases of the program."""
    return {name: value for name, value in row.items() if name not in ("reason", "note")}


def test_it_is_then_what_a_new_one_is_and_is_written_on(home: Path, tmp_path: Path) -> None:
    open_store(home).close()
    open_store(tmp_path / "new").close()
    shape = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    assert read(home, shape) == read(tmp_path / "new", shape)
    with open_store(home) as store:
        before = [judgement(row) for row in store.history()]
        verdicts.rejudge(store)
        assert [judgement(row) for row in store.history()] == before
        assert {row["verdict"] for row in before} == {"works", "broken", "unknown"}


def test_a_reader_waits_for_the_first_writer(home: Path) -> None:
    with pytest.raises(DatabaseError, match="older than this settle") as refused:
        open_reader(home)
    assert "settle run" in refused.value.hint
    open_store(home).close()
    with open_reader(home) as reader:
        assert len(reader.history()) > 5


def test_a_conversion_that_is_cut_off_leaves_the_old_one_whole(home: Path) -> None:
    """A row that breaks a rule ends it near its end, as a full disk would."""
    with closing(sqlite3.connect(home / DATABASE)) as db:
        db.execute("DROP TABLE alert_looks")
        db.execute("CREATE TABLE alert_looks (cell_id TEXT, day TEXT, run_id TEXT)")
        db.execute("INSERT INTO alert_looks VALUES (NULL, NULL, NULL)")
        db.commit()
        dump = list(db.iterdump())
    with pytest.raises(DatabaseError):
        open_store(home)
    with closing(sqlite3.connect(home / DATABASE)) as db:
        assert list(db.iterdump()) == dump


def test_an_intermediate_shape_is_refused_with_a_sentence(home: Path) -> None:
    with closing(Database(home / DATABASE)) as db:
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm015_fetches'")
        db.execute("PRAGMA user_version = 0")
        db.conn.commit()
    with pytest.raises(DatabaseError, match="m015_fetches is missing") as refused:
        open_store(home)
    assert refused.value.hint


def test_a_history_that_an_older_settle_shipped_is_converted_when_it_is_unpacked(tmp_path: Path) -> None:
    unpack(lzma.compress(FORMER), tmp_path)
    with open_reader(tmp_path) as reader:
        assert "note" in reader.query("SELECT * FROM history").columns
