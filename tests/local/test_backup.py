"""A backup is the history as of one moment, and comes back whole into an empty home or not at all."""

from __future__ import annotations

import io
import lzma
import os
import sqlite3
import tarfile
import threading
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from monitor import verdicts
from monitor.cli.root import settle
from monitor.errors import DatabaseError, SettleError, UsageError
from monitor.store import open_reader, open_store
from monitor.store.backup import CONTENTS, back_up, restore
from tests.standins.days import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = date(2026, 4, 1)
FORMER = Path(__file__).parents[1] / "data" / "version_0_1_0.db.xz"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path / "home") as store:
        world = World(store)
        world.run("W", DAY)
        store.logs.keep(b"a log")
        yield world


LIVED = pytest.mark.usefixtures("world")


def lines(home: Path) -> list[str]:
    """Return all that the database says."""
    with closing(sqlite3.connect(f"file:{home / 'settle.db'}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


def files(home: Path) -> dict[str, bytes]:
    found = (path for kind in ("events", "logs") for path in (home / kind).rglob("*.gz"))
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


@LIVED
def test_a_history_comes_back_as_it_was(tmp_path: Path) -> None:
    home, again, file = tmp_path / "home", tmp_path / "again", tmp_path / "backup.tar"
    made = back_up(home, file)
    assert made.events > 0
    assert made.logs > 0
    assert made.events + made.logs == len(files(home))
    assert restore(file, again) == made
    assert sorted(path.name for path in again.iterdir()) == ["events", "logs", "settle.db", "settle.lock"]
    assert lines(again) == lines(home)
    assert files(again) == files(home)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "backup.tar", "home"]
    with open_store(again) as store:
        assert (verdicts.rejudge(store).runs, verdicts.rejudge(store).without_events) == (1, 0)


def test_it_is_taken_while_somebody_writes_and_is_of_one_moment(world: World, tmp_path: Path) -> None:
    """Every backup can be brought back, and knows all events that its database names."""
    done = threading.Event()

    def back_up_often() -> None:
        for number in range(5):
            back_up(tmp_path / "home", tmp_path / f"{number}.tar")
        done.set()

    thread = threading.Thread(target=back_up_often)
    thread.start()
    days = 0
    while not done.is_set():
        days += 1
        world.run("W", DAY + timedelta(days=days))
    thread.join()
    counts = []
    for number in range(5):
        restore(tmp_path / f"{number}.tar", again := tmp_path / str(number))
        with open_store(again) as store:
            judged = verdicts.rejudge(store)
        assert judged.without_events == 0
        counts.append(judged.runs)
    assert counts == sorted(counts)
    assert 1 <= counts[0] <= counts[-1] <= days + 1


@LIVED
def test_a_backup_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "settle.toml"
    file.write_text("precious")
    with pytest.raises(UsageError, match="already exists"):
        back_up(tmp_path / "home", file)
    assert file.read_text() == "precious"


@pytest.mark.parametrize("name", ["settle.db", "events", "anything"])
@LIVED
def test_a_home_that_holds_anything_is_left_alone(tmp_path: Path, name: str) -> None:
    back_up(tmp_path / "home", file := tmp_path / "backup.tar")
    (again := tmp_path / "again").mkdir()
    (again / name).write_text("precious")
    with pytest.raises(UsageError, match=f"is not empty: it holds {name}"):
        restore(file, again)
    assert (again / name).read_text() == "precious"
    with pytest.raises(DatabaseError, match="is in use by another settle"):
        restore(file, tmp_path / "home")


def cut(file: Path, at: float) -> None:
    os.truncate(file, int(file.stat().st_size * at))


def flipped(file: Path, name: str) -> None:
    """Change one byte in the middle of a member."""
    with tarfile.open(file) as archive:
        member = next(one for one in archive if one.name.startswith(name))
        at = member.offset_data + member.size // 2
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(bytes(data))


def without(file: Path, name: str) -> None:
    """Write the archive again without a member, as a tool that fails silently would."""
    with tarfile.open(file) as archive:
        kept = [(one, archive.extractfile(one)) for one in archive if not one.name.startswith(name)]
        with tarfile.open(file.with_suffix(".new"), "w") as new:
            for member, content in kept:
                new.addfile(member, content)
    file.with_suffix(".new").replace(file)


def with_more(file: Path, member: tarfile.TarInfo) -> None:
    with tarfile.open(file, "a") as archive:
        archive.addfile(member, io.BytesIO(b"x" * member.size))


def _written(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return one


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda file: cut(file, 0),
    "cut in the database": lambda file: cut(file, 0.3),
    "cut near the end": lambda file: cut(file, 0.9),
    "no archive": lambda file: _written(file, b"PK" * 4000),
    "database changed": lambda file: flipped(file, "settle.db"),
    "events changed": lambda file: flipped(file, "events/"),
    "events missing": lambda file: without(file, "events/"),
    "database missing": lambda file: without(file, "settle.db"),
    "contents missing": lambda file: without(file, CONTENTS),
    "leads out": lambda file: with_more(file, member("../outside")),
    "leads out by a link": lambda file: with_more(file, member("logs/aa", tarfile.SYMTYPE, "/etc")),
    "a link for a database": lambda file: with_more(file, member("settle.db", tarfile.SYMTYPE, "/etc/passwd")),
    "twice": lambda file: with_more(file, member("settle.db")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@LIVED
def test_nothing_is_taken_from_a_damaged_backup(tmp_path: Path, damage: str) -> None:
    back_up(tmp_path / "home", file := tmp_path / "backup.tar")
    DAMAGES[damage](file)
    with pytest.raises(DatabaseError) as caught:
        restore(file, again := tmp_path / "again")
    assert str(file) in str(caught.value) or "is damaged: its contents differ from their hash" in str(caught.value)
    assert [path.name for path in again.iterdir()] == ["settle.lock"]
    assert not (tmp_path / "outside").exists()


@LIVED
def test_a_restoring_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    back_up(tmp_path / "home", file := tmp_path / "backup.tar")
    half = tmp_path / "again"
    (half / ".restoring").mkdir(parents=True)
    (half / ".restoring" / "settle.db").write_bytes(b"half")
    (half / "events" / "aa").mkdir(parents=True)
    restore(file, half)
    assert lines(half) == lines(tmp_path / "home")
    assert files(half) == files(tmp_path / "home")
    assert not (half / ".restoring").exists()
    (half / ".restoring").mkdir()  # killed when all was there already
    with pytest.raises(UsageError, match=r"holds settle\.db"):
        restore(file, half)


def test_a_history_of_an_older_settle_can_be_backed_up_before_and_is_brought_up_to_date_after(tmp_path: Path) -> None:
    (home := tmp_path / "home").mkdir()
    (home / "settle.db").write_bytes(lzma.decompress(FORMER.read_bytes()))
    back_up(home, file := tmp_path / "backup.tar")
    restore(file, tmp_path / "again")
    with open_reader(tmp_path / "again") as store:
        assert len(store.current()) == 2


@LIVED
def test_the_commands_say_what_they_did_and_a_home_without_history_is_said(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    assert "event files" in run("backup", str(file), home=tmp_path / "home")
    assert "restored the database" in run("restore", str(file), home=tmp_path / "again")
    with pytest.raises(DatabaseError, match="there is no database"):
        run("backup", str(tmp_path / "other.tar"), home=tmp_path / "nowhere")
    with pytest.raises(SettleError, match="cannot be restored"):
        run("restore", str(tmp_path / "missing.tar"), home=tmp_path / "third")
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def run(*words: str, home: Path) -> str:
    done = CliRunner().invoke(settle, words, env={"SETTLE_HOME": str(home), "SETTLE_CONFIG": ""})
    if isinstance(done.exception, SettleError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output
