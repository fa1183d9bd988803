"""How large a history of ten million checks is, and how long who reads it waits: the shipped one, multiplied by SQL."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.cli.demo import SHIPPED
from monitor.domain import Channel, Platform, Runtime
from monitor.store import open_reader, open_store
from monitor.store.reader import DATABASE
from monitor.store.shipped import unpack
from tests.bench.timing import Times, tell, tell_aim, timed, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WANTED_CHECKS = 10_000_000
FIRST = date(2025, 1, 1)
LAPS = 6  # the recorded days of every cell, one after another so many times
QUESTION_MS, SESSIONS_A_DAY = 50, 2000
SIZE_GB, STATUS_S, SHOW_S = 1.2, 0.3, 1.0
REPEATS = 5
SETTLE = Path(sys.executable).with_name("settle")
RUNTIMES = tuple(Runtime)
MODEL = "google/gemma-4-31B-it"  # one that has changed often

# a cell of the copy is the recorded one in another runtime; from the second time round it is another model's
_COPIED_CELLS = """
INSERT OR IGNORE INTO models SELECT id || :sibling, family, architecture, kind, organisation, released,
    released_source, license, note, control, created, released_kind, released_confidence FROM seed.models;
INSERT OR IGNORE INTO subjects SELECT id || :sibling, model_id || :sibling, form, architecture, digest, qualified,
    first_known, control FROM seed.subjects;
INSERT INTO cells (id, subject_id, runtime, channel, platform, number)
    SELECT replace(id, '@transformers', :sibling || '@' || :runtime), subject_id || :sibling, :runtime, channel,
    platform, number + :copy * :cells FROM seed.cells
"""
# every copy and lap has its separate numbers, so that no text is shared by two of them
_TEXTS = """
INSERT INTO check_results SELECT number + :k * :check_results, random(), name, rung, outcome, fault, blame,
    CASE WHEN message GLOB '*[0-9]*' THEN message || ', ' || :k ELSE message END, signature,
    json_set(evidence, '$.copy', :k) FROM seed.check_results;
INSERT INTO verdicts SELECT number + :k * :verdicts, random(), verdict, rung, reason || ', ' || :k, blame, fault,
    signature FROM seed.verdicts;
INSERT INTO fact_values SELECT number + :k * :fact_values, random(), value FROM seed.fact_values
"""
_INSTALLED = """
INSERT OR IGNORE INTO environments SELECT substr(digest, 1, 56) || :shared, :runtime, version, platform, base_digest,
    lock, packages, created_at, resolve_s, build_s FROM seed.environments;
INSERT OR IGNORE INTO resolutions SELECT substr(id, 1, 24) || :shared, day, 'live', :runtime, channel, platform,
    requested, version, cutoff, at, seconds, substr(environment_digest, 1, 56) || :shared, failed, fault, message,
    log_digest FROM seed.resolutions;
INSERT INTO sessions SELECT substr(id, 1, 24) || :own, substr(resolution_id, 1, 24) || :shared,
    substr(environment_digest, 1, 56) || :shared, suite, engine, solo, limit_factor, request_digest, started_at
    FROM seed.sessions;
INSERT INTO endings SELECT substr(session_id, 1, 24) || :own, finished_at, ending, log_digest, log_dropped_bytes
    FROM seed.endings
"""
_RECORDED = """
INSERT INTO runs SELECT number + :k * :runs, lower(hex(randomblob(6))),
    replace(cell_id, '@transformers', :sibling || '@' || :runtime),
    substr(resolution_id, 1, 24) || :shared, substr(session_id, 1, 24) || :own, date(:begin, nth || ' days'), 'live',
    purpose, version, substr(environment, 1, 56) || :shared, suite, subject_digest, solo, limit_factor, started_at,
    seconds, ending, events_digest, events_problem, installed
    FROM seed.runs JOIN nth USING (cell_id, day);
INSERT INTO run_facts SELECT run + :k * :runs, position, name, value + :k * :fact_values FROM seed.run_facts
    UNION ALL SELECT number + :k * :runs, 100, 'logprobs', NULL FROM seed.runs
    UNION ALL SELECT number + :k * :runs, 101, 'trace', NULL FROM seed.runs;
INSERT INTO run_checks SELECT run + :k * :runs, position, result + :k * :check_results, seconds FROM seed.run_checks;
INSERT INTO day_verdicts SELECT cell + :copy * :cells, date(:begin, nth || ' days'), 'live',
    verdict + :k * :verdicts,
    run + :k * :runs, NULL, leaning, note FROM seed.day_verdicts JOIN seed.cells ON cells.number = cell
    JOIN nth ON nth.cell_id = cells.id AND nth.day = day_verdicts.day WHERE carried_from IS NULL;
INSERT INTO rung_verdicts SELECT cell + :copy * :cells, date(:begin, nth || ' days'), step,
    verdict + :k * :verdicts
    FROM seed.rung_verdicts JOIN seed.cells ON cells.number = cell
    JOIN nth ON nth.cell_id = cells.id AND nth.day = rung_verdicts.day;
INSERT INTO flips (cell_id, day, before, after, confirmed)
    SELECT replace(flips.cell_id, '@transformers', :sibling || '@' || :runtime), date(:begin, nth || ' days'), before,
    after, date(:begin, nth || ' days') FROM seed.flips JOIN nth USING (cell_id, day)
"""
_NTH = """
CREATE TEMP TABLE nth AS
SELECT DISTINCT cell_id, day, dense_rank() OVER (PARTITION BY cell_id ORDER BY day) AS nth FROM seed.runs;
CREATE INDEX temp.nth_of ON nth (cell_id, day)
"""


@dataclass(frozen=True, slots=True)
class Seed:
    """What the shipped history holds, and with it how often it has to be copied."""

    counts: dict[str, int]
    days: int

    @property
    def copies(self) -> int:
        return -(-WANTED_CHECKS // (self.counts["run_checks"] * LAPS))


def measure(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    seed, home = folder / "seed", folder / "home"
    unpack((files("monitor") / "data" / SHIPPED).read_bytes(), seed)
    title("ten million checks: the shipped history in every runtime and again and again, no day carried")
    tell("made in", f"{timed(lambda: multiply(seed, home)):.0f} s")
    for name, count in _rows(home).items():
        tell(f"  rows of {name}", f"{count:,}")
    size = (home / DATABASE).stat().st_size / 1e9
    tell_aim("database, GB", size, f"under {SIZE_GB}", met=size < SIZE_GB)
    for name, share in _largest(home):
        tell(f"  of it {name}", f"{share / 1e6:.0f} MB")
    _ask(home)
    env = {**os.environ, "SETTLE_HOME": str(home)}
    _wait(STATUS_S, ("status",), env)
    _wait(SHOW_S, ("show", MODEL), env)
    shutil.rmtree(folder)


def multiply(seed: Path, home: Path) -> None:
    """Write into ``home`` the history of ``seed`` in every runtime and several times over; a day is never carried."""
    open_store(home).close()
    with closing(sqlite3.connect(home / DATABASE)) as db:
        db.execute("ATTACH ? AS seed", (str(seed / DATABASE),))
        db.execute("PRAGMA synchronous = OFF")
        _run(db, _NTH, {})
        found = _seed(db)
        for copy in range(found.copies):
            _run(db, _COPIED_CELLS, _named(found, copy, 0))
        for lap in range(LAPS):
            for copy in range(found.copies):
                named = _named(found, copy, lap)
                for script in (_TEXTS, _INSTALLED, _RECORDED):
                    _run(db, script, named)
                db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _seed(db: sqlite3.Connection) -> Seed:
    tables = ("cells", "runs", "check_results", "verdicts", "fact_values")
    counts = {table: db.execute(f"SELECT max(number) FROM seed.{table}").fetchone()[0] for table in tables}  # noqa: S608 - the names above
    counts["run_checks"] = db.execute("SELECT count(*) FROM seed.run_checks").fetchone()[0]
    return Seed(counts, db.execute("SELECT max(nth) FROM nth").fetchone()[0])


def _named(seed: Seed, copy: int, lap: int) -> dict[str, object]:
    runtime = RUNTIMES[copy % len(RUNTIMES)]
    sibling = copy // len(RUNTIMES)
    return {
        **seed.counts,
        "copy": copy,
        "k": lap * seed.copies + copy,
        "runtime": str(runtime),
        "sibling": f"-{sibling}" if sibling else "",
        "shared": f"{RUNTIMES.index(runtime):04x}{lap:04x}",  # models of one runtime share its environments
        "own": f"{copy:04x}{lap:04x}",
        "begin": str(FIRST + timedelta(days=lap * seed.days)),
    }


def _run(db: sqlite3.Connection, script: str, named: dict[str, object]) -> None:
    for statement in script.split(";\n"):
        db.execute(statement, named)


def _rows(home: Path) -> dict[str, int]:
    with closing(sqlite3.connect(home / DATABASE)) as db:
        tables = ("models", "cells", "runs", "run_checks", "check_results", "day_verdicts", "environments")
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608 - as above


def _largest(home: Path) -> Iterator[tuple[str, int]]:
    with closing(sqlite3.connect(home / DATABASE)) as db:
        yield from db.execute("SELECT name, sum(pgsize) AS size FROM dbstat GROUP BY name ORDER BY size DESC LIMIT 12")


def _ask(home: Path) -> None:
    """Time every question that planning asks in a tick, by the processor's clock: another's load is not ours."""
    with open_reader(home) as store:
        queries = store.planning
        day = date.fromisoformat(store.last_recorded()["last_day"])
        now = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=20)
        platform = Platform.parse(store.query("SELECT platform FROM cells LIMIT 1").rows[0][0])
        # the copies all ended within the hours in which the shipped history was measured: a day has this many
        sql = f"SELECT finished_at FROM endings ORDER BY finished_at DESC LIMIT 1 OFFSET {SESSIONS_A_DAY}"  # noqa: S608 - a number
        since = datetime.fromisoformat(store.query(sql).rows[0][0])
        questions: dict[str, Callable[[], object]] = {
            "what was recorded last": queries.last_recorded,
            "whether a platform was measured": lambda: queries.was_measured_on(platform),
            "the latest day of every cell": lambda: queries.latest_days(platform, RUNTIMES),
            "what a runtime resolved to": lambda: queries.last_resolution(
                RUNTIMES[0], Channel.STABLE, platform, day=day
            ),
            "whether there is news of a runtime": lambda: queries.has_news(
                RUNTIMES[0], Channel.STABLE, since=now - timedelta(days=1), now=now
            ),
            "what was spent in a day": lambda: queries.time_spent(since=since),
            "what a cell takes": lambda: queries.seconds_a_cell(RUNTIMES[0]),
            "how many there are of all": queries.counts,
            "the last run and day": store.last_recorded,
        }
        for name, ask in questions.items():
            ask()
            taken = min(_worked(ask) for _ in range(REPEATS)) * 1000
            tell_aim(f"asking {name}, ms", taken, f"under {QUESTION_MS}", met=taken < QUESTION_MS)


def _worked(ask: Callable[[], object]) -> float:
    began = time.process_time()
    ask()
    return time.process_time() - began


def _wait(aim: float, command: tuple[str, ...], env: dict[str, str]) -> None:
    """Tell how long a command takes by the clock, and how long its processor worked: another's load is not ours."""

    def run() -> None:
        subprocess.run([SETTLE, *command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    run()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = Times(tuple(timed(run) for _ in range(REPEATS)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / REPEATS
    tell_aim(f"settle {' '.join(command)}, s", times.median, f"under {aim}", met=times.median < aim)
    tell("  by the clock; its processor worked", f"{times}; {worked:.2f} s")
