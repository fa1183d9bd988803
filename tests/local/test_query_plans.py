"""No question of a tick reads a whole table that grows with every run: by SQLite's plans, and by the steps it takes."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.alerts.steps import write_alerts
from monitor.config.settings import Alerts, Config
from monitor.daemon.steps import subjects_to_watch
from monitor.discovery.releases import is_due
from monitor.domain import Channel, Release, Runtime
from monitor.schedule.plan import plan
from monitor.schedule.today import Scope, Watched, stable_lines, survey
from monitor.store import Store, open_store
from tests.standins.days import FIRST, PLATFORM, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROWING = frozenset(
    {"runs", "run_checks", "run_facts", "check_results", "fact_values", "verdicts", "day_verdicts", "rung_verdicts"}
    | {"sessions", "endings", "resolutions", "carries", "departures", "answers"}
)  # environments are some thousands, one a new lock, and counted by a small index
PARTIAL = "answers_unlike_the_reference"  # an index of some rows
VIEWS = frozenset({"days", "checks", "facts", "day_rungs", "history"})
ALIAS = re.compile(r"\b(\w+) AS (\w+)")
SCAN = re.compile(r"\bSCAN (\w+)")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        yield World(store)


class Asked:
    """Every statement that a database is asked, and the steps of its machine."""

    def __init__(self, store: Store) -> None:
        self.connection = store._db.conn
        self.statements: dict[str, None] = {}
        self.steps = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.connection.set_trace_callback(self._hear)
        self.connection.set_progress_handler(self._step, 1)
        try:
            yield
        finally:
            self.connection.set_trace_callback(None)
            self.connection.set_progress_handler(None, 0)

    def _hear(self, sql: str) -> None:
        self.statements[sql] = None

    def _step(self) -> int:
        self.steps += 1
        return 0

    def scans(self) -> dict[str, list[str]]:
        """Return, by statement, the growing tables of which it reads every row."""
        scans = {}
        for sql in self.statements:
            if not sql.lstrip().upper().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
                continue
            meant = {alias: table for table, alias in ALIAS.findall(sql) if table in GROWING | VIEWS}
            plan_lines = [
                row[-1] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}") if PARTIAL not in row[-1]
            ]
            tables = [meant.get(name, name) for line in plan_lines for name in SCAN.findall(line)]
            if read := [table for table in tables if table in GROWING]:
                scans[sql] = read
        return scans


def lived(store: Store, days: int) -> World:
    """Live through so many days, with an environment each."""
    world = World(store)
    live(world, 0, days)
    releases = [Release(Runtime.TRANSFORMERS, "5.4.0", Channel.STABLE, datetime(2026, 3, 1, tzinfo=UTC))]
    store.record_releases(releases, datetime(2026, 3, 1, tzinfo=UTC))
    return world


def live(world: World, first: int, days: int) -> None:
    for day in range(first, days):
        world.release()
        world.run("W", FIRST + timedelta(days=day))
        world.run("W", FIRST + timedelta(days=day), world.control)


def ask(store: Store, days: int) -> None:
    """Ask all that a tick asks where nothing is due, and what follows a day's last run."""
    config = Config()
    now = datetime.combine(FIRST + timedelta(days=days - 1), datetime.min.time(), UTC) + timedelta(hours=20)
    store.planning.mark()
    store.planning.last_recorded()
    store.planning.was_measured_on(PLATFORM)
    subjects_to_watch(store, config, [], discovered=True)()
    subjects = [store.subject(name) for name in ("acme/new", "acme/old")]
    lines = stable_lines([Runtime.TRANSFORMERS, Runtime.VLLM])
    scope = Scope(PLATFORM, Watched(subjects, {}), lines, {line.runtime: "suite-1" for line in lines}, config.daemon)
    facts = survey(store, scope, now)
    plan(facts.cells, facts.offers, facts.budget, now)
    store.published.due(["popularity"], now, longest=timedelta(hours=7))
    polls = store.listings.polls()
    is_due(polls.get("index of transformers"), now, timedelta(hours=1))
    store.planning.counts()
    store.last_recorded()


def test_no_question_of_a_tick_reads_a_whole_growing_table(world: World) -> None:
    asked = Asked(lived(world.store, 3).store)
    with asked.listening():
        ask(world.store, 3)
    assert len(asked.statements) > 12
    assert asked.scans() == {}


def test_recording_a_run_and_carrying_a_day_read_no_whole_growing_table(world: World) -> None:
    home = lived(world.store, 3)
    asked = Asked(world.store)
    with asked.listening():
        home.run("W", FIRST + timedelta(days=3))
        home.decide(FIRST + timedelta(days=3))
        home.run("B", FIRST + timedelta(days=3))
        home.carry([FIRST + timedelta(days=4)], home.resolve(FIRST + timedelta(days=4)))
    assert asked.scans() == {}


def test_writing_news_reads_no_whole_growing_table(world: World) -> None:
    lived(world.store, 3)
    alerts = Alerts.model_validate({"targets": [{"name": "ops", "url": "json://localhost"}]})
    noon = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(hours=12)
    write_alerts(world.store, alerts, noon, [])
    asked = Asked(world.store)
    with asked.listening():
        write_alerts(world.store, alerts, noon + timedelta(days=1), [])
    assert asked.scans() == {}


def test_a_longer_history_takes_no_more_steps(world: World) -> None:
    """From eleven days on: what a cell takes is an average of the latest twenty sessions."""
    steps = []
    for first, days in ((0, 11), (11, 22)):
        live(world, first, days)
        asked = Asked(world.store)
        with asked.listening():
            ask(world.store, days)
        steps.append(asked.steps)
    few, many = steps
    assert many < few * 1.2


def test_a_trace_sees_a_scan(world: World) -> None:
    """The test tests: a question that scans is caught, whatever name it gives the table."""
    asked = Asked(world.store)
    with asked.listening():
        world.store._db.execute("SELECT * FROM runs AS other WHERE seconds > 1").fetchall()
        world.store._db.execute("SELECT * FROM history WHERE note = 'x' AND cell = reason").fetchall()
    assert sorted(asked.scans().values()) == [["day_verdicts"], ["runs"]]
