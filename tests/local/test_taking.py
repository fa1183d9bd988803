"""Every example of `settle query` has an answer, and every table says what it is."""

from __future__ import annotations

import json
import shlex
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from monitor.cli.demo import SHIPPED
from monitor.cli.read import query
from monitor.cli.root import settle
from monitor.store import open_reader
from monitor.store.example_queries import EXAMPLE_QUERIES
from monitor.store.schema import described
from monitor.store.shipped import unpack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shipped")
    unpack((files("monitor") / "data" / SHIPPED).read_bytes(), home)
    return home


def run(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(settle, arguments, env={"SETTLE_HOME": str(home)}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_there_are_thirteen_useful_examples() -> None:
    names = {query.name for query in EXAMPLE_QUERIES}
    assert len({query.sql for query in EXAMPLE_QUERIES}) == len(names) == 13
    assert not names & {table.name for table in described()}  # or its page would hide the table's


@pytest.mark.parametrize("line", [line for line in (query.epilog or "").splitlines() if "settle query" in line])
def test_every_example_of_the_help_has_an_answer_in_the_shipped_history(shipped: Path, line: str) -> None:
    words = shlex.split(line[: line.rindex('"') + 1])  # what a shell would do with the answer comes after
    with open_reader(shipped) as store:
        assert store.query(words[-1]).rows


def test_an_example_is_answered_as_table_csv_and_json(shipped: Path) -> None:
    sql = next(one.sql for one in EXAMPLE_QUERIES if one.name == "rungs_now")
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
    assert named["current", "verdict"] == named["verdicts", "verdict"]
    assert named["by_release", "blame"] == named["verdicts", "blame"]
    shown = [column.meaning for one in tables if one.is_view for column in one.columns]
    assert sum(map(bool, shown)) > len(shown) * 0.9
