"""A writer of the database in a process of its own: what a kill leaves, and what readers beside it see."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from monitor import verdicts
from monitor.errors import DatabaseError
from monitor.store import open_reader, open_store
from monitor.store.reader import DATABASE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# a writer that never stops by itself: one session and run after another, each announced once it is recorded
WRITER = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from monitor import verdicts
from monitor.judge.days import Fingerprint
from monitor.store import EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord, open_store
from monitor.domain import *
from monitor.wire.stream import read_events

platform = Platform("3.11", "cpu", Isolation.CONTAINER)
now = datetime(2026, 4, 1, tzinfo=UTC)
cell = Cell("s", Runtime.TRANSFORMERS, Channel.STABLE, platform)
home, first = Path(sys.argv[1]), int(sys.argv[2])
with open_store(home) as store:
    model = Model("m", "M", "arch", ModelKind.DENSE, "acme", None, "")
    store.record_catalogue([model], [Subject("s", "m", SubjectForm.MINIATURE, "arch", "d")])
    store.record_resolution(
        ResolutionRecord("r", date(2026, 4, 1), Origin.LIVE, Runtime.TRANSFORMERS, Channel.STABLE, platform,
                         "transformers", "5.4.0", now, now, 1.0, "e"),
        EnvironmentRecord("e", Runtime.TRANSFORMERS, "5.4.0", platform, "b", "lock", {}, now),
    )
    for n in range(first, first + 100_000):
        store.begin_session(SessionRecord(f"x{n}", "r", "e", "suite", "docker", True, 1, {"n": n}, now))
        events = b'{"event": "done", "at": %d.0}\\n' % n
        run = RunRecord(cell, "r", f"x{n}", date(2026, 4, 1), Origin.ADHOC, Purpose.PROBE, "5.4.0",
                        Fingerprint("e", "suite", "d"), True, now, ending=Ending(exit_code=0), events=events,
                        session=read_events(events, ["s"]))
        verdicts.record_run(store, run)
        print(n, flush=True)
        store.end_session(f"x{n}", now, Ending(exit_code=0), log=b"log %d" % n)
"""


def start_writer(home: Path, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(home), str(first)], stdout=subprocess.PIPE, text=True)


def test_a_kill_loses_at_most_the_unfinished_run(tmp_path: Path) -> None:
    acknowledged = 0
    for attempt in range(6):
        first = 1000 * attempt
        with start_writer(tmp_path, first) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == f"{first}\n"
            time.sleep(0.013 * attempt)
            writer.kill()
            said = writer.stdout.read().split()
        last = int(said[-1]) if said and said[-1].isdigit() else first
        acknowledged += last - first + 1
        with open_store(tmp_path) as store:
            assert store.query("SELECT count(*) FROM runs").rows[0][0] >= acknowledged
            halves = "SELECT count(*) FROM runs WHERE id NOT IN (SELECT run_id FROM checks)"
            assert store.query(halves).rows == ((0,),)
            assert verdicts.rejudge(store).without_events == 0
        connection = sqlite3.connect(tmp_path / DATABASE)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()


def test_readers_read_while_the_writer_writes_and_a_second_writer_is_refused(tmp_path: Path) -> None:
    with start_writer(tmp_path, 0) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "0\n"
            with pytest.raises(DatabaseError, match=rf"in use by another settle \(process {writer.pid}\)"):
                open_store(tmp_path)
            with open_reader(tmp_path) as reader:
                before = reader.query("SELECT count(*) FROM runs").rows[0][0]
                for _ in range(5):
                    writer.stdout.readline()
                assert reader.query("SELECT count(*) FROM runs").rows[0][0] >= before + 4
        finally:
            writer.send_signal(signal.SIGKILL)
    with open_store(tmp_path):
        pass


def test_readers_in_threads_see_whole_days(tmp_path: Path) -> None:
    """Each reader opens its own connection; none may see a run without its checks."""
    halves: list[int] = []
    with start_writer(tmp_path, 0) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()

            def read() -> None:
                with open_reader(tmp_path) as reader:
                    for _ in range(20):
                        sql = "SELECT count(*) FROM runs WHERE id NOT IN (SELECT run_id FROM checks)"
                        halves.append(reader.query(sql).rows[0][0])

            threads = [threading.Thread(target=read) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            writer.kill()
    assert halves == [0] * 60
