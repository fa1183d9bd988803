"""Days in the daemon's life, with a clock of their own; the sessions are scripted."""

from __future__ import annotations

import errno
import sqlite3
import uuid
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from containers.failures import InstallFailure, InstallFault, InstallStage
from monitor import verdicts
from monitor.config.settings import Config
from monitor.daemon import tick
from monitor.daemon.loop import pause
from monitor.daemon.tick import DaemonState, Step
from monitor.domain import (
    Channel,
    Ending,
    Isolation,
    Model,
    ModelKind,
    Origin,
    Platform,
    Release,
    Runtime,
    Subject,
    SubjectForm,
)
from monitor.errors import InfraError
from monitor.judge.runs import Stage
from monitor.runner.install import InstallResult
from monitor.schedule.today import Watched
from monitor.store import EnvironmentRecord, ResolutionRecord, Store, open_store
from monitor.store.records import failed_environment
from tests.local.test_cycle import ScriptedSessions, scripted_runner
from tests.standins.days import FIRST, PLATFORM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEPS = (Step("probing", tick.probe_what_is_due),)
CONTROL, YOUNG, OLD = "acme/control", "acme/young", "acme/old"
ONE_DAY = timedelta(days=1)
MORNING = time(6, tzinfo=UTC)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.at = datetime.combine(FIRST, MORNING)

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Days:
    """A home whose index gives another release on some days, and whose bench says what each release does."""

    def __init__(self, store: Store) -> None:
        self.store, self.sessions, self.clock = store, ScriptedSessions(), Clock()
        self.sessions.story = self.story
        self.platform = PLATFORM
        self.releases: dict[date, str] = {FIRST - ONE_DAY: "5.0.0"}
        self.broken: set[tuple[str, str]] = set()  # subject, version
        self.index: InstallFault | None = None  # what is wrong with it
        self.engine = True
        self.connected = 0
        self.said: list[str] = []
        self.subjects = [
            Subject(name, name, SubjectForm.MINIATURE, "newarch", "files", qualified=True, control=name == CONTROL)
            for name in (CONTROL, YOUNG, OLD)
        ]
        self.models = [Model(one.id, one.id, "newarch", ModelKind.DENSE, "acme", None, "") for one in self.subjects]
        born: dict[str, date | None] = {YOUNG: FIRST, OLD: FIRST - 300 * ONE_DAY}
        self.state = DaemonState(
            Config.model_validate({"daemon": {"tick_seconds": 1800}}),
            store,
            SimpleNamespace(
                message=self.said.append,
                expect_subjects=lambda _: None,
                check_finished=lambda *_: None,
                subject_finished=lambda *_: None,
            ),
            self.clock,
            lambda: Watched(self.subjects, born),
            lambda _: "suite-1",
            self.connect,
        )

    @property
    def version(self) -> str:
        return self.releases[max(day for day in self.releases if day <= self.clock.at.date())]

    @contextmanager
    def connect(self) -> Iterator[Any]:
        self.connected += 1
        if not self.engine:
            raise InfraError("no engine answers", hint="start it")
        runner = scripted_runner(
            self.store,
            self.subjects[0],
            self.resolve,
            self.sessions,
            platform=self.platform,
            progress=self.state.progress,
            now=self.clock.now,
            sleep=self.clock.sleep,
        )
        yield SimpleNamespace(runner=runner, catalogue=SimpleNamespace(models=self.models))

    def resolve(self, *_: object) -> InstallResult:
        now, version = self.clock.now(), self.version
        one = ResolutionRecord(
            uuid.uuid4().hex, now.date(), Origin.LIVE, Runtime.TRANSFORMERS, Channel.STABLE, self.platform, "", version,
            now, now, 1.0, environment_digest=f"env-{version}",
        )  # fmt: skip
        if self.index is not None:
            failed = ResolutionRecord(
                one.id, one.day, one.origin, one.runtime, one.channel, self.platform, "", "", now, now, 1.0,
                failed=Stage.RESOLVES, fault=str(self.index), message="no",
            )  # fmt: skip
            self.store.record_resolution(failed)
            key = failed_environment(Runtime.TRANSFORMERS, "", now.date(), str(self.index))
            return InstallResult(
                one.id, "", key, None, InstallFailure(InstallStage.RESOLVE, self.index, "no", b"", 1.0)
            )
        packages = {"transformers": version, "torch": "2.13.0"}
        self.store.record_resolution(
            one,
            EnvironmentRecord(
                f"env-{version}", Runtime.TRANSFORMERS, version, self.platform, "base", "", packages, now
            ),
        )
        environment: Any = SimpleNamespace(digest=f"env-{version}")
        return InstallResult(one.id, version, f"env-{version}", environment)

    def story(self, _: int, who: tuple[str, ...]) -> tuple[str, Ending]:
        return "".join("B" if (name, self.version) in self.broken else "W" for name in who), Ending(exit_code=0)

    def live(self, days: int) -> None:
        """Tick until so many days are over."""
        end = datetime.combine(self.clock.at.date() + days * ONE_DAY, MORNING)
        while self.clock.at < end:
            pause(self.clock, min(end, tick.tick(self.state, STEPS)))

    def history(self, subject: str) -> str:
        """Tell a subject's days by letters: small ones are carried."""
        letters = {"works": "W", "broken": "B", "flaky": "F", "unknown": "?"}
        told = {row["day"]: row for row in self.store.history(model=subject)}
        last = max(map(date.fromisoformat, told))
        days = [(FIRST + n * ONE_DAY).isoformat() for n in range((last - FIRST).days + 1)]
        return "".join(
            (letters[told[day]["verdict"]].lower() if told[day]["carried"] else letters[told[day]["verdict"]])
            if day in told
            else "."
            for day in days
        )


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    with open_store(tmp_path) as store:
        yield Days(store)


def test_a_young_model_is_probed_daily_and_what_stands_is_carried(days: Days) -> None:
    days.live(6)
    assert days.history(YOUNG) == "WWWWWWW"
    assert days.history(OLD) == "WWWWWWW"  # its verdict is young
    days.live(10)
    assert days.history(YOUNG) == "W" * 17
    assert days.history(OLD)[7:] == "WwWwWwwWww"


def test_a_release_is_noticed_on_its_day_and_its_change_confirmed(days: Days) -> None:
    days.releases[FIRST + 2 * ONE_DAY] = "5.1.0"
    days.releases[FIRST + 5 * ONE_DAY] = "5.2.0"
    days.broken = {(OLD, "5.1.0")}
    days.live(7)
    assert days.history(OLD)[2:6] == "BBBW"
    assert days.history(YOUNG)[2:6] == "WWWW"
    detail = days.store.cells.detail(days.store.current(model=OLD)[0]["cell"])
    assert [(one["day"], one["before"], one["after"]) for one in detail.flips] == [
        ("2026-04-03", "works", "broken"),
        ("2026-04-06", "broken", "works"),
    ]


def test_a_release_that_the_index_lists_at_noon_is_not_left_for_tomorrow(days: Days) -> None:
    days.live(1)
    noon = datetime.combine(days.clock.at.date(), time(12, tzinfo=UTC))
    while days.clock.at < noon:
        pause(days.clock, min(noon, tick.tick(days.state, STEPS)))
    days.releases[days.clock.at.date()] = "5.1.0"
    days.store.record_releases([Release(Runtime.TRANSFORMERS, "5.1.0", Channel.STABLE, noon)], seen_at=noon)
    tick.tick(days.state, STEPS)
    assert {row["version"] for row in days.store.current()} == {"5.1.0"}


def test_a_release_with_an_earlier_upload_time_that_becomes_visible_late_is_measured_the_same_day(days: Days) -> None:
    days.live(1)
    noon = datetime.combine(days.clock.at.date(), time(12, tzinfo=UTC))
    while days.clock.at < noon:
        pause(days.clock, min(noon, tick.tick(days.state, STEPS)))
    days.releases[days.clock.at.date()] = "5.1.0"
    uploaded = noon - timedelta(hours=8)  # before the day's resolution: the index's copies show it only now
    days.store.record_releases([Release(Runtime.TRANSFORMERS, "5.1.0", Channel.STABLE, uploaded)], seen_at=noon)
    tick.tick(days.state, STEPS)
    assert {row["version"] for row in days.store.current()} == {"5.1.0"}
    asked = "select count(*) from resolutions"
    before = days.store.query(asked).rows
    for _ in range(5):
        pause(days.clock, tick.tick(days.state, STEPS))
    assert days.store.query(asked).rows == before


def test_nothing_due_is_nothing_done(days: Days) -> None:
    days.live(1)
    before, held = days.connected, len(days.sessions.held)
    for _ in range(200):
        assert tick.tick(days.state, STEPS) > days.clock.at
    assert (days.connected, len(days.sessions.held)) == (before, held)


@pytest.mark.parametrize("fault", [InstallFault.INDEX, InstallFault.NETWORK, InstallFault.DISK])
def test_an_index_that_is_gone_is_waited_for_and_nobody_is_blamed(days: Days, fault: InstallFault) -> None:
    days.live(1)
    days.index = fault
    days.live(2)
    gone = days.history(OLD)
    days.index = None
    days.live(2)
    assert gone == "WW"
    assert days.history(OLD) == "WW.WWW"
    asked = days.store.query("select count(*) as n from resolutions where failed is not null").rows[0][0]
    assert 6 < asked < 16  # later and later


def test_an_installation_that_really_fails_is_told_of_every_model_once_a_day(days: Days) -> None:
    days.live(1)
    days.index = InstallFault.UNRESOLVABLE
    days.live(2)
    days.index = None
    days.live(1)
    assert days.history(OLD) == "WWBBW"
    assert days.history(YOUNG) == "WWBBW"


def test_an_engine_that_is_gone_is_waited_for_while_the_other_steps_go_on(days: Days) -> None:
    other: list[datetime] = []
    steps = (*STEPS, Step("else", lambda state: other.append(state.clock.now())))
    days.engine = False
    days.state.config = Config()
    for _ in range(60):
        pause(days.clock, tick.tick(days.state, steps))
    assert len(other) == 60
    assert 3 < days.connected < 40
    assert "probing: no engine answers (start it)" in days.said
    days.engine = True
    days.live(1)
    assert days.history(OLD) == "WW"


def test_a_history_of_containers_is_not_continued_in_plain_processes(days: Days) -> None:
    days.live(1)
    days.platform = Platform(PLATFORM.python, PLATFORM.accelerator, Isolation.PROCESS)
    days.live(1)
    assert days.history(OLD) == "WW"
    assert "no container engine answers" in days.state.waits["probing"].reason
    days.state.config = Config.model_validate({"engine": "process", "daemon": {"tick_seconds": 1800}})
    days.state.waits.clear()
    days.live(1)
    assert "probing" not in days.state.waits


def test_one_step_that_fails_for_ever_keeps_no_other_from_its_turn(days: Days) -> None:
    def fail(_: DaemonState) -> None:
        raise InfraError("the mail server is gone")

    end = datetime.combine(FIRST + ONE_DAY, MORNING)
    while days.clock.at < end:
        pause(days.clock, min(end, tick.tick(days.state, (Step("mail", fail), *STEPS))))
    assert days.history(OLD) == "WW"
    assert days.said.count("mail: the mail server is gone") == 1
    assert days.state.waits["mail"].failures > 20


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), sqlite3.OperationalError("disk is full")])
def test_a_full_disk_is_waited_for_wherever_it_shows(days: Days, error: Exception) -> None:
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
    full = [error]

    def write(_: DaemonState) -> None:
        if full:
            raise full[0]

    steps = (Step("writing", write), *STEPS)
    tick.tick(days.state, steps)
    assert "the disk is full" in days.state.waits["writing"].reason
    assert days.history(OLD) == "W"
    full.clear()
    days.clock.sleep(3600)
    tick.tick(days.state, steps)
    assert days.state.waits == {}


def test_a_fault_in_the_code_is_no_fault_to_wait_for(days: Days) -> None:
    def fail(_: DaemonState) -> None:
        raise KeyError("nobody thought of this")

    with pytest.raises(KeyError):
        tick.tick(days.state, (Step("writing", fail),))


def test_a_clock_that_was_set_back_records_nothing_until_it_is_right_again(days: Days) -> None:
    days.live(2)
    before = days.store.planning.mark()
    days.clock.at -= 10 * ONE_DAY
    tick.tick(days.state, STEPS)
    assert days.store.planning.mark() == before
    assert any("the clock shows" in one for one in days.said)
    days.clock.at += 10 * ONE_DAY
    days.live(1)
    assert days.history(OLD) == "WWWW"


def test_a_clock_that_was_ahead_has_a_way_back(days: Days) -> None:
    days.live(2)
    days.clock.at += 400 * ONE_DAY
    days.live(1)
    days.clock.at -= 401 * ONE_DAY
    tick.tick(days.state, STEPS)
    assert "`settle correct-clock FILE`" in days.state.waits["probing"].hint
    assert verdicts.discard_after(days.store, days.clock.now()).runs > 0
    days.state.waits.clear()
    days.live(2)
    assert days.history(OLD) == "WWWWW"


def test_what_a_killed_daemon_left_unsettled_is_resumed(days: Days) -> None:
    days.live(1)
    days.releases[days.clock.at.date() + ONE_DAY] = "5.1.0"
    days.broken = {(OLD, "5.1.0")}
    held = len(days.sessions.held)

    class Killed(BaseException):
        pass

    def story(count: int, who: tuple[str, ...]) -> tuple[str, Ending]:
        if days.version == "5.1.0" and count > held + 1:
            raise Killed
        return days.story(count, who)

    days.sessions.story = story
    with pytest.raises(Killed):
        days.live(1)
    assert days.store.current(model=OLD)[0]["verdict"] == "unknown"
    days.sessions.story = days.story
    days.state.idle = None
    tick.tick(days.state, STEPS)
    assert days.store.current(model=OLD)[0]["verdict"] == "broken"
