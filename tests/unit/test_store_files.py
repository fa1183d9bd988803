"""The database as a file: who may open it, and what may be in it."""

from __future__ import annotations

import lzma
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from monitor.errors import DatabaseError
from monitor.store import open_reader, open_store
from monitor.store.archive import FileArchive
from monitor.store.opening import SHAPE
from monitor.store.reader import DATABASE
from monitor.store.schema import MIGRATIONS, Database
from monitor.store.shipped import kept_answer, unpack
from monitor.store.tables import FACT_TABLES, LAYOUT_TABLES, TRACE_TABLES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    with open_store(tmp_path):
        assert (tmp_path / "settle.lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(DatabaseError, match=str(os.getpid())):
            open_store(tmp_path)
    open_store(tmp_path).close()


def test_facts_are_only_added(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    triggers = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")}
    # a message is no fact: what became of it changes, but nothing of what it says
    kept = (*FACT_TABLES, *TRACE_TABLES, *LAYOUT_TABLES, "outbox")
    assert triggers == {f"{table}_never_{verb}" for table in kept for verb in ("update", "delete")}
    connection.execute("INSERT INTO environments VALUES ('d', 'r', 'v', 'p', 'b', 'l', '{}', 't', 0, 0)")
    for sql in ("UPDATE environments SET lock = ''", "DELETE FROM environments"):
        with pytest.raises(sqlite3.IntegrityError, match="environments are facts: they are only added"):
            connection.execute(sql)
    connection.close()


def test_every_table_of_ours_is_strict(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        sql = "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict"
        loose = {name for (name,) in store.query(sql).rows}
    assert loose == {"sqlite_schema", "sqlite_temp_schema", "_sqlite_migrations"}


def test_a_shipped_history_keeps_its_answers(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    packed = lzma.compress((tmp_path / DATABASE).read_bytes())
    home = tmp_path / "demo"
    unpack(packed, home)
    computed: list[str] = []

    def answer(question: str) -> Any:
        def compute() -> list[str]:
            computed.append(question)
            return [question]

        return kept_answer(home, question, compute)

    assert [answer("report"), answer("report"), answer("release")] == [["report"], ["report"], ["release"]]
    assert computed == ["report", "release"]
    for file in home.glob("answer-*"):
        file.write_text("{", encoding="utf-8")
    assert (answer("report"), len(computed)) == (["report"], 3)  # an unreadable file is computed again
    (home / "shipped.sha256").unlink()
    unpack(packed, home)
    assert (list(home.glob("answer-*")), answer("report"), len(computed)) == ([], ["report"], 4)


def test_a_history_that_grows_keeps_no_answers(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    assert kept_answer(tmp_path, "report", lambda: 1) == 1
    assert kept_answer(tmp_path, "report", lambda: 2) == 2
    assert not list(tmp_path.glob("answer-*"))


def test_a_database_of_a_newer_settle_is_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    newer = Database(tmp_path / DATABASE)
    newer.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('settle', 'm999_moon', '')")
    newer.execute(f"PRAGMA user_version = {SHAPE + 1}")
    newer.conn.commit()
    newer.close()
    for opener in (open_store, open_reader):
        with pytest.raises(DatabaseError, match=r"written by a newer settle .m999_moon is not known here"):
            opener(tmp_path)


def test_foreign_and_unreadable_files_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE bookmarks (id INTEGER)")
    foreign.close()
    for opener in (open_store, open_reader):
        with pytest.raises(DatabaseError, match="not one of Settle's"):
            opener(tmp_path)
    path.write_bytes(b"#!/bin/sh\necho this is no database at all, but long enough to be one\n" * 40)
    for opener in (open_store, open_reader):
        with pytest.raises(DatabaseError, match="not a database that can be read"):
            opener(tmp_path)
    path.unlink()
    path.mkdir()
    for opener in (open_store, open_reader):
        with pytest.raises(DatabaseError, match="cannot be opened"):
            opener(tmp_path)


def test_a_damaged_database_is_noticed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.record_releases([], datetime(2026, 4, 1, tzinfo=UTC))
    path = tmp_path / DATABASE
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    path.write_bytes(bytes(data))
    with pytest.raises(DatabaseError, match=r"damaged|not a database that can be read"):
        open_store(tmp_path)


def test_a_missing_database_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="there is no database") as caught:
        open_reader(tmp_path)
    assert "settle run" in caught.value.hint


def test_a_home_that_cannot_be_made_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseError, match="cannot be opened"):
        open_store(tmp_path / "file" / "home")


def test_the_archive_names_by_content_and_notices_damage(tmp_path: Path) -> None:
    archive = FileArchive(tmp_path)
    digest = archive.keep(b"hello " * 1000)
    assert archive.keep(b"hello " * 1000) == digest
    assert archive.read(digest) == b"hello " * 1000
    assert archive.path(digest).stat().st_size < 200
    assert archive.keep(b"") == ""
    assert archive.read("0" * 64) is None
    other = archive.keep(b"other")
    archive.path(digest).write_bytes(archive.path(other).read_bytes())
    with pytest.raises(DatabaseError, match="is damaged: its contents differ from their hash"):
        archive.read(digest)
    archive.path(digest).write_bytes(b"no gzip")
    with pytest.raises(DatabaseError, match="cannot be read"):
        archive.read(digest)
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".gz", ".gz"]


def test_logs_are_collected_oldest_first_and_half_written_ones_are_swept(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        digests = [store.logs.keep(os.urandom(1000)) for _ in range(4)]
        for age, digest in enumerate(digests):
            os.utime(store.logs.path(digest), (age, age))
        each = store.logs.size_bytes() // 4
        assert store.logs.collect(2 * each + 10) == 2 * each
        assert [store.log(digest) is None for digest in digests] == [True, True, False, False]
    half = tmp_path / "logs" / ".writing" / "half.gz"
    half.write_bytes(b"half")
    open_store(tmp_path).close()
    assert not half.exists()


def test_the_mark_of_a_database_is_its_newest_migration(tmp_path: Path) -> None:
    assert int(MIGRATIONS.pending(Database(memory=True, execute_plugins=False))[-1].name[1:4]) == SHAPE
    open_store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SHAPE,)
