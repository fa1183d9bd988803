"""What was recorded is read again, by the store's own readers and by anybody's SQL."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor import verdicts
from monitor.domain import (
    Blame,
    Rung,
)
from monitor.errors import UnknownName, UsageError
from monitor.store.text_pool import write_check_results
from tests.standins.days import FIRST, World

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_run_leaves_behind_can_be_read(world: World) -> None:
    detail = world.run("B", FIRST, solo=True)
    read = verdicts.run_detail(world.store, detail.id[:8])
    assert read.checks == detail.checks
    assert read.verdict.blame is Blame.RUNTIME
    assert read.facts == {"logprobs": [1.5, 2]}
    assert read.ending is not None
    assert world.store.log(read.ending["log_digest"]) == b"hello from " + read.row["session_id"].encode()
    assert read.session is not None
    assert world.store.request(read.session["request_digest"]) == {"wire": 1}
    assert world.store.environment("env-a") is not None
    with pytest.raises(UnknownName, match="no run is called"):
        verdicts.run_detail(world.store, "nothing")
    with pytest.raises(UnknownName, match="no cell is called"):
        world.store.cells.detail("nothing")


def test_the_views_answer_in_the_documented_columns(world: World) -> None:
    world.run("W", FIRST)
    documented = ("model", "family", "architecture", "runtime", "version", "channel", "platform", "day", "verdict")
    assert world.store.query("SELECT * FROM current").columns[:11] == (*documented, "rung", "reason")
    assert {*documented, "rung", "reason", "carried", "origin"} <= {*world.store.query("SELECT * FROM history").columns}
    rungs = [(row["rung"], row["verdict"]) for row in world.store.matrix()]
    assert rungs == [(str(rung), "passed") for rung in (Rung(n) for n in range(6))]
    assert world.store.current(verdict="broken") == []
    with pytest.raises(UnknownName, match="no column is called"):
        world.store.current(weather="fine")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM models", "only SQL that reads"),
        ("INSERT INTO facts VALUES (1, 2, 3)", "only SQL that reads"),
        ("DROP TABLE runs", "only SQL that reads"),
        ("ATTACH 'x.db' AS x", "only SQL that reads"),
        ("PRAGMA journal_mode = DELETE", "only SQL that reads"),
        ("SELECT load_extension('x')", "only SQL that reads"),
        ("CREATE TEMP TABLE t (a)", "only SQL that reads"),
        ("VACUUM INTO 'copy.db'", "only SQL that reads"),
        ("BEGIN", "only SQL that reads"),
        ("SELECT a FROM nowhere", "no such table"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "is empty or returns no columns"),
    ],
)
def test_sql_that_writes_or_is_wrong_gets_a_sentence(world: World, sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        world.store.query(sql)


def test_sql_reads_freely(world: World) -> None:
    world.run("W", FIRST)
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT max(i) FROM n"
    assert world.store.query(counting).rows == ((5,),)
    unpacked = "SELECT json_each.value FROM environments, json_each(packages)"
    assert world.store.query(unpacked).rows == (("2.13.0",),)
    assert world.store.query("SELECT count(*) AS n FROM pragma_table_info('runs')").columns == ("n",)


def test_the_longest_facts_stay_in_the_events_of_their_run(world: World, tmp_path: Path) -> None:
    detail = world.run("W", FIRST)
    assert world.store.query("SELECT name, value FROM facts").rows == (("logprobs", None),)
    assert verdicts.run_detail(world.store, detail.id).facts == {"logprobs": [1.5, 2]}
    shutil.rmtree(tmp_path / "events")
    assert verdicts.run_detail(world.store, detail.id).facts == {}


def test_what_is_said_again_is_kept_once_and_what_nobody_says_any_more_is_forgotten(world: World) -> None:
    world.run("W", FIRST)
    kept = "SELECT (SELECT count(*) FROM check_results), (SELECT count(*) FROM verdicts)"
    before = world.store.query(kept).rows
    world.run("W", FIRST + timedelta(days=1), fingerprint=replace(world.fingerprint, environment="env-b"))
    assert world.store.query(kept).rows == before
    with world.store._db.atomic():
        write_check_results(world.store._db, [("never.asked", "knows", "passed", "", None, "", "", None)])
    assert world.store.query(kept).rows != before
    verdicts.rejudge(world.store)
    assert world.store.query(kept).rows == before


def test_sql_that_never_ends_is_ended(world: World) -> None:
    from monitor.store.queries import query

    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(UsageError, match="longer than"):
        query(world.store.path, endless, patience_s=0.2)
