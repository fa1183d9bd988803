"""What pages and commands say is all that is known: by release, above the bar, and of runtimes that cannot be asked."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from monitor.cli.root import settle
from monitor.domain import InstalledAsOf, Origin, Purpose, Runtime
from monitor.judge.days import Fingerprint
from monitor.judge.runs import Stage
from monitor.report.by_release import read_by_release
from monitor.report.release import effects, release_sections
from monitor.report.sections import summary_sections
from monitor.report.summary import summaries
from monitor.site.pages import make_site
from monitor.store import RunRecord, open_reader, open_store
from monitor.store.reader import DATABASE
from monitor.store.records import failed_environment
from monitor.verdicts import record_run
from tests.standins.days import FIRST, World
from tests.standins.traces import TRACE, told

if TYPE_CHECKING:
    from pathlib import Path

RELEASED, SEEN = FIRST + timedelta(days=5), FIRST + timedelta(days=30)


def by_hand(world: World, letter: str, version: str, *, day: date = RELEASED, **changes: Any) -> None:
    values = {
        "installed": InstalledAsOf.RELEASE_DAY,
        "fingerprint": Fingerprint(f"env-{version}", "suite-1", "files"),
        **changes,
    }
    for solo in (False, True):
        world.run(letter, day, origin=Origin.ADHOC, version=version, solo=solo, **values)


def without_ollama(world: World) -> None:
    """Record that ollama could not be installed, for both subjects."""
    for cell in (world.cell, world.control):
        unasked = replace(cell, runtime=Runtime.OLLAMA)
        resolution = world.resolve(
            FIRST, failed=Stage.RESOLVES, fault="infra-recipe", message="name a release", runtime=Runtime.OLLAMA,
            environment_digest="", version="",
        )  # fmt: skip
        key = failed_environment(Runtime.OLLAMA, "", FIRST, "infra-recipe")
        record_run(
            world.store,
            RunRecord(
                unasked, resolution, "", FIRST, Origin.LIVE, Purpose.PROBE, "",
                Fingerprint(key, "suite-1", "files"), solo=True, started_at=datetime.combine(FIRST, time(9), UTC),
            ),
        )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with a cell that works in 5.3.0 by hand, and is broken on the one day of its history, in 5.4.0."""
    with open_store(tmp_path) as store:
        world = World(store)
        by_hand(world, "W", "5.3.0")
        world.settle("B", SEEN)
        by_hand(world, "B", "5.10.0", day=SEEN + timedelta(days=5))
    return tmp_path


def settle_says(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(settle, arguments, env={"SETTLE_HOME": str(home)}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def site(home: Path) -> dict[str, str]:
    with open_reader(home) as store:
        for (digest,) in store.query("SELECT DISTINCT request_digest FROM sessions").rows:
            store.events.path(str(digest)).unlink()  # the scripts of stand-in sessions would repeat nothing
        return {path: content.decode() for path, content in make_site(store)}


def test_show_prints_the_run_of_the_latest_day_and_by_hand_runs_by_release(home: Path) -> None:
    """Defect: a failed run of an old version, asked by hand last, was shown as the run of the cell."""
    shown = json.loads(settle_says(home, "show", "acme/new", "--json"))
    assert (shown["last_run"]["version"], shown["last_run"]["day"]) == ("5.4.0", SEEN.isoformat())
    assert [(row["version"], row["verdict"]) for row in shown["by_release"]] == [
        ("5.3.0", "works"),
        ("5.10.0", "broken"),
    ]
    text = settle_says(home, "show", "acme/new")
    table = text[text.index("By release") :]
    assert table.index("5.3.0") < table.index("5.10.0")
    assert f"{RELEASED}, its release day" in " ".join(table.split())


def test_a_cell_that_was_only_asked_by_hand_can_be_shown(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        by_hand(World(store), "W", "5.3.0")
    assert json.loads(settle_says(tmp_path, "show", "acme/new", "--json"))["last_run"]["version"] == "5.3.0"


def test_a_release_is_compared_with_what_is_known_by_hand(home: Path) -> None:
    """Defect: `release vllm==0.32.0` said that nothing had changed where five no longer worked."""
    with open_reader(home) as store:
        (effect,) = [one for one in effects(store, "transformers", "5.4.0") if one.subject == "acme/new"]
        assert effect.before is not None
        assert (effect.before.version, effect.before.verdict, effect.after.verdict, effect.kind) == (
            "5.3.0", "works", "broken", "Broke",
        )  # fmt: skip
        (by_hand_only,) = effects(store, "transformers", "5.10.0")  # it is in no day of the history
        assert by_hand_only.before is not None
        assert (by_hand_only.before.version, by_hand_only.changed) == ("5.4.0", False)
    assert "1 changed their verdict" in settle_says(home, "release", "5.4.0")


def test_what_worked_before_and_could_not_be_measured_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        world = World(store)
        by_hand(world, "W", "5.3.0")
        world.run("?", SEEN)
        (effect,) = effects(store, "transformers", "5.4.0")
        assert (effect.after.verdict, effect.changed) == ("unknown", False)
        *_, last = release_sections(store, "transformers", "5.4.0", [effect])
    assert last.title == "Worked before, and could not be measured"
    assert last.rows[0][:3] == ("acme/new", "5.3.0: works", "unknown")


def test_never_seen_to_work_is_not_said_of_what_works_by_release(home: Path) -> None:
    """Defect: "works with no release yet" stood on cells that a release by hand shows working."""
    pages = site(home)
    (cell,) = [text for path, text in pages.items() if path.startswith("cells/acme/new/")]
    assert "No measured release works" not in cell
    assert "Lock by hand" in cell
    assert any(path.startswith("locks/") and "env-5.3.0" in path for path in pages)
    with open_reader(home) as store:
        known = read_by_release(store)
        (summary,) = summaries(store.tracks(), SEEN, by_release=known.observations)
        (line,) = [line for line in summary.lines if line.track.cell.startswith("acme/new")]
        assert line.answer.works.by == RELEASED
        assert (line.answer.setbacks, str(line.answer.standing)) == ((), "broken")  # it proves nothing else
        sections = {section.title: section for section in summary_sections(store, summary)}
    assert sections["Known to work by release"].rows == (("acme/new", "5.3.0"),)


def test_what_works_with_wrong_numbers_is_not_plain_green(tmp_path: Path) -> None:
    """Defect: *works* stood beside numbers that were known to be wrong, and nothing showed them."""
    with open_store(tmp_path) as store:
        world = World(store)
        world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"trace": TRACE}))
        for cell, wrong in ((world.control, ""), (world.cell, "matches.logprobs")):
            other = replace(cell, runtime=Runtime.XLLAMACPP)
            events = told(
                other.subject_id, Runtime.XLLAMACPP, {"heard": [[[-1.5, -2.5]]]} if wrong else {}, wrong=wrong
            )
            for solo in (False, True, True):
                world.run("W", FIRST, other, events=events, solo=solo)
    pages = site(tmp_path)
    overview, model = pages["index.html"], pages["models/acme/new.html"]
    for page in (overview, model):
        assert "wrong numbers" in page
        assert "matches ✗" in page
        assert "serves ✓" in page
    assert 'class="wrong"' in overview
    assert '<td class="n released">N</td>' in model or '<td class="n">N</td>' in model
    cells = json.loads(pages["status.json"])["models"]["acme/new"]["cells"]
    (cell,) = [cell for name, cell in cells.items() if name.startswith("xllamacpp")]
    assert (cell["verdict"], cell["shown"]) == ("works", "works, wrong numbers")
    assert cell["above_the_bar"]["matches"] == "failed"
    rows = json.loads(settle_says(tmp_path, "status", "--json"))
    assert {row["shown"] for row in rows if row["subject"] == "acme/new"} == {"works", "works, wrong numbers"}
    assert "works, wrong numbers" in settle_says(tmp_path, "status")


def test_a_runtime_that_cannot_be_asked_is_a_line_and_no_column(tmp_path: Path) -> None:
    """Defect: "only failing" listed every model, because one runtime could not be installed."""
    with open_store(tmp_path) as store:
        world = World(store)
        world.settle("W", FIRST)
        world.run("W", FIRST, world.control)
        without_ollama(world)
    pages = site(tmp_path)
    overview = pages["index.html"]
    matrix = overview[overview.index('class="matrix"') :]
    assert "ollama" not in matrix
    assert "could not be asked about any of 2 subjects" in overview
    assert not [path for path in pages if "failing" in path]
    assert not [path for path in pages if "unknown" in path]
    text = settle_says(tmp_path, "status")
    (line,) = [line for line in text.splitlines() if "ollama" in line and "could not be asked" in line]
    assert "2 models" in line


def test_failing_unknown_and_not_asked_are_different_filters(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        world = World(store)
        world.settle("B", FIRST)
        world.run("?", FIRST, world.control)
        world.run("H", FIRST, replace(world.cell, runtime=Runtime.XLLAMACPP))  # longer than its limit, which is ours
    pages = site(tmp_path)
    listed = {
        name: {subject for subject in ("acme/new", "acme/old") if f">{subject}</a>" in matrix_of(pages, name)}
        for name in ("failing", "unknown", "not-asked")
    }
    # acme/old was asked nowhere: its session never began
    assert listed == {"failing": {"acme/new"}, "unknown": {"acme/new"}, "not-asked": {"acme/old"}}


def matrix_of(pages: dict[str, str], name: str) -> str:
    (page,) = [text for path, text in pages.items() if path.endswith(".html") and name in path.split("/")[-1]]
    return page[page.index('class="matrix"') :]


def test_a_database_without_the_two_questions_gets_them_and_keeps_its_answers(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        world = World(store)
        by_hand(world, "W", "5.3.0", installed=InstalledAsOf.RUN_DAY)
        world.settle("W", FIRST)
    wanted = "SELECT cell, version, verdict, by_hand, run FROM by_release ORDER BY cell, version"
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        after = db.execute(wanted).fetchall()
        for statement in (
            "DROP VIEW by_release",
            "DROP VIEW parity",
            "CREATE TABLE former AS SELECT * FROM answers",
            "ALTER TABLE former DROP COLUMN installed",
            "ALTER TABLE former DROP COLUMN rungs",
            "DROP TABLE answers",
            "ALTER TABLE former RENAME TO answers",
            "ALTER TABLE runs DROP COLUMN installed",
            "CREATE VIEW by_release AS SELECT 1",
            "CREATE VIEW parity AS SELECT 1",
            "DELETE FROM _sqlite_migrations WHERE name LIKE 'm021%'",
            "PRAGMA user_version = 20",
        ):
            db.execute(statement)
        db.commit()
    open_store(tmp_path).close()
    with open_reader(tmp_path) as store:
        assert list(store.query(wanted).rows) == after
        assert {row["installed"] for row in store.by_release()} == {"daily", "run-day"}
