"""The history taken elsewhere: every example of `settle query`, exports as of one moment, copies of a busy database."""

from __future__ import annotations

import csv
import json
import shlex
import sqlite3
from contextlib import closing
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from monitor.cli.demo import SHIPPED
from monitor.cli.read import query
from monitor.cli.root import settle
from monitor.errors import SettleError, UsageError
from monitor.store import open_reader, open_store
from monitor.store.copying import copy_database
from monitor.store.described import described
from monitor.store.questions import QUESTIONS
from monitor.store.shipped import unpack
from monitor.store.snapshot import EXPORTED
from tests.standins.days import FIRST, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shipped")
    unpack((files("monitor") / "data" / SHIPPED).read_bytes(), home)
    return home


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        yield World(store)


def run(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(settle, arguments, env={"SETTLE_HOME": str(home)}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_there_are_thirteen_useful_examples() -> None:
    assert len({one.sql for one in QUESTIONS}) == len({one.name for one in QUESTIONS}) == 13
    assert not {one.name for one in QUESTIONS} & {one.name for one in described()}  # or its page would hide the table's


@pytest.mark.parametrize("line", [line for line in (query.epilog or "").splitlines() if "settle query" in line])
def test_every_example_of_the_help_has_an_answer_in_the_shipped_history(shipped: Path, line: str) -> None:
    words = shlex.split(line[: line.rindex('"') + 1])  # what a shell would do with the answer comes after
    with open_reader(shipped) as store:
        assert store.query(words[-1]).rows


def test_an_example_is_answered_as_table_csv_and_json(shipped: Path) -> None:
    sql = next(one.sql for one in QUESTIONS if one.name == "rungs_now")
    table, as_csv, as_json = (run(shipped, "query", *form, sql) for form in ((), ("--csv",), ("--json",)))
    assert len(table.splitlines()) == len(as_csv.splitlines()) == len(json.loads(as_json)) + 1


def test_every_table_and_nearly_every_column_of_a_view_says_what_it_is() -> None:
    tables = described()
    assert {one.name for one in tables if one.is_view} >= {
        "current",
        "history",
        "matrix",
        "by_release",
        "checks",
        "days",
    }
    assert not [one.name for one in tables if not one.meaning]
    named = {(one.name, column.name): column.meaning for one in tables for column in one.columns}
    assert named["current", "verdict"] == named["opinions", "verdict"]
    assert named["by_release", "blame"] == named["opinions", "blame"]
    shown = [column.meaning for one in tables if one.is_view for column in one.columns]
    assert sum(map(bool, shown)) > len(shown) * 0.9


def test_a_folder_gets_a_file_a_view(world: World, tmp_path: Path) -> None:
    for day in range(3):
        world.run("W", FIRST + timedelta(days=day))
    told = json.loads(run(tmp_path, "export", str(tmp_path / "out"), "--json"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{name}.csv" for name in EXPORTED)
    with (tmp_path / "out" / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"path": str(tmp_path / "out" / "history.csv"), "rows": len(rows)} in told
    assert [row["day"] for row in rows] == ["2026-04-01", "2026-04-02", "2026-04-03"]
    assert [row["reason"] for row in rows] == [row["reason"] for row in world.store.history()]


def test_one_json_file_holds_every_view(world: World, tmp_path: Path) -> None:
    world.run("W", FIRST)
    run(tmp_path, "export", str(tmp_path / "all.json"))
    told = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert list(told) == list(EXPORTED)
    assert [row["verdict"] for row in told["current"]] == ["works"]
    assert told["flips"] == []
    run(tmp_path, "export", str(tmp_path / "rows"), "--format", "json", "--only", "matrix")
    assert json.loads((tmp_path / "rows" / "matrix.json").read_text(encoding="utf-8")) == told["matrix"]


@pytest.mark.parametrize("arguments", [["x.csv"], ["x.json", "--format", "csv"]])
def test_an_export_that_cannot_be_meant_is_refused(world: World, tmp_path: Path, arguments: list[str]) -> None:
    world.run("W", FIRST)
    with pytest.raises(SettleError) as refused:
        run(tmp_path, "export", *arguments)
    assert refused.value.hint


def test_an_export_is_of_one_moment(world: World, tmp_path: Path) -> None:
    world.run("W", FIRST)
    with open_reader(tmp_path) as reader, reader.at_one_moment():
        before = len(list(reader.view("history").rows))
        world.run("W", FIRST + timedelta(days=1))
        assert len(list(reader.view("history").rows)) == before
    with open_reader(tmp_path) as reader:
        assert len(list(reader.view("history").rows)) == before + 1


def test_a_copy_is_whole_in_itself_while_somebody_writes(world: World, tmp_path: Path) -> None:
    world.run("W", FIRST)
    elsewhere = tmp_path / "copies"
    elsewhere.mkdir()
    with world.store._db.atomic():
        world.store._db.execute("UPDATE models SET note = 'half done'")
        size = copy_database(tmp_path, elsewhere / "settle.db")
    assert [file.name for file in elsewhere.iterdir()] == ["settle.db"]
    assert size == (elsewhere / "settle.db").stat().st_size
    with closing(sqlite3.connect(elsewhere / "settle.db")) as copy:
        assert copy.execute("SELECT count(*) FROM models WHERE note = 'half done'").fetchone() == (0,)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with open_reader(elsewhere) as reader:
        assert len(reader.current()) == 1


def test_a_copy_replaces_only_what_it_is_told_to(world: World, tmp_path: Path) -> None:
    world.run("W", FIRST)
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        copy_database(tmp_path, target)
    assert target.read_text() == "precious"
    copy_database(tmp_path, target, replace=True)
    assert target.read_bytes().startswith(b"SQLite")
    for never in (world.store.path, tmp_path):
        with pytest.raises(UsageError, match="exists already"):
            copy_database(tmp_path, never, replace=True)
