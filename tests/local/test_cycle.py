"""What a cycle asks again, and together with whom, when the bench failed; the sessions are told and not held."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from containers.failures import InstallFailure, InstallFault, Stage
from monitor.cli.outcome import raise_if_only_infra_failed, raise_if_uninstalled
from monitor.domain import Channel, Ending, Model, ModelKind, Origin, Runtime, Subject, SubjectForm
from monitor.errors import InfraError, NotMeasured
from monitor.judge.installs import Stage as JudgedStage
from monitor.runner import cycle
from monitor.runner import parallel as sessions
from monitor.runner.install import InstallResult
from monitor.runner.request import ProbeRequest
from monitor.runner.session import PreparedSubject, SessionResult
from monitor.store import EnvironmentRecord, ResolutionRecord, Store, open_store
from monitor.wire.stream import Listener
from tests.standins.days import FIRST, PLATFORM, events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.runner.session import SessionSpec

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
NAMES = ("acme/control", "acme/a", "acme/b", "acme/c", "acme/d")


class Told:
    """A bench whose sessions go as the story says: the letters of a sitting's subjects, and how it ended."""

    @staticmethod
    def suite_of(_: str) -> str:
        return "suite-1"

    def __init__(self) -> None:
        self.story: Callable[[int, tuple[str, ...]], tuple[str, Ending]] = lambda _, who: ("W" * len(who), Ending(0))
        self.held: list[tuple[tuple[str, ...], bool]] = []

    @staticmethod
    def request(_: SessionSpec) -> dict[str, Any]:
        return {}

    def run_session(self, spec: SessionSpec, *, over: Any, heard: Any) -> SessionResult:
        who = tuple(prepared.subject.id for prepared in spec.prepared_subjects)
        letters, last = self.story(len(self.held), who)
        self.held.append((who, spec.solo))
        ending = Ending(exit_code=0)
        listener = Listener(who, heard=heard, over=lambda name, session, raw: over(name, session, raw, ending))
        for position, (name, letter) in enumerate(zip(who, letters, strict=False)):
            lines = events(name, letter).splitlines(keepends=True)
            listener.feed(b"".join(lines[3 if position else 0 :]))
        ending = last
        return SessionResult(listener.close(), ending, b"", 0, 0.0)


class Home:
    def __init__(self, store: Store, bench: Told) -> None:
        self.bench, self.store = bench, store
        self.slept: list[float] = []
        self.installed: list[InstallFault] = []
        self.subjects = [
            Subject(name, name, SubjectForm.MINIATURE, "newarch", "files", qualified=True, control=name == NAMES[0])
            for name in NAMES
        ]
        store.record_catalogue(
            [Model(name, name, "newarch", ModelKind.DENSE, "acme", FIRST, "hub") for name in NAMES], self.subjects
        )
        self.request = ProbeRequest(
            Runtime.TRANSFORMERS, Channel.STABLE, "", FIRST, NOW, Origin.LIVE, subjects=self.subjects
        )
        self.context: Any = SimpleNamespace(
            store=store,
            session_runner=bench,
            platform=PLATFORM,
            engine=SimpleNamespace(name="told", stop=lambda: None),
            workers=1,
            catalogue=SimpleNamespace(control=SimpleNamespace(subjects=lambda: self.subjects[:1])),
            now=lambda: NOW,
        )
        self.context.for_runtime = lambda *_: self.context

    def fail(self, slug: InstallFault) -> Callable[..., InstallResult]:
        """Return an installation that fails in building, and is counted."""

        def install(*_: object) -> InstallResult:
            answer = uuid.uuid4().hex
            self.installed.append(slug)
            self.store.record_resolution(
                ResolutionRecord(
                    answer, FIRST, Origin.LIVE, Runtime.TRANSFORMERS, Channel.STABLE, PLATFORM, "", "5.4.0", NOW, NOW,
                    1800.0, failed=JudgedStage.BUILDS, fault=str(slug), message="not done after 1800 s",
                )
            )  # fmt: skip
            failure = InstallFailure(Stage.INSTALL, slug, "not done after 1800 s", b"", 1800.0)
            return InstallResult(answer, "5.4.0", "none-1", None, failure)

        return install

    def install(self, *_: object) -> InstallResult:
        answer = uuid.uuid4().hex
        self.store.record_resolution(
            ResolutionRecord(
                answer, FIRST, Origin.LIVE, Runtime.TRANSFORMERS, Channel.STABLE, PLATFORM, "", "5.4.0", NOW, NOW, 1.0,
                environment_digest="env-a",
            ),
            EnvironmentRecord("env-a", Runtime.TRANSFORMERS, "5.4.0", PLATFORM, "base", "", {}, NOW),
        )  # fmt: skip
        environment: Any = SimpleNamespace(digest="env-a")
        return InstallResult(answer, "5.4.0", "env-a", environment)

    def hold(self) -> cycle.CycleResult:
        quiet: Any = SimpleNamespace(
            message=lambda _: None,
            expect_subjects=lambda _: None,
            check_finished=lambda *_: None,
            subject_finished=lambda *_: None,
        )
        self.bench.held.clear()
        return cycle.run_cycle(self.context, self.request, quiet, sleep=self.slept.append)

    def verdicts(self) -> set[str]:
        held = self.hold()
        assert len(held.settled) == len(NAMES)
        return {str(one.verdict.verdict) for one in held.settled.values()}


@pytest.mark.parametrize(("slug", "ours"), [("infra-index", True), ("infra-network", True), ("unresolvable", False)])
def test_a_cycle_that_could_install_nothing_for_our_own_fault_ends_with_5(slug: str, ours: bool) -> None:
    failed: Any = SimpleNamespace(slug=slug)
    held = cycle.CycleResult(Runtime.TRANSFORMERS, InstallResult("r", "", "none-1", None, failed), {}, (), 0)
    if not ours:
        raise_if_uninstalled([held])
        return
    with pytest.raises(InfraError, match=slug) as raised:
        raise_if_uninstalled([held])
    assert raised.value.exit_code == 5


@pytest.mark.parametrize(
    ("letters", "ours"), [("HHHHH", True), ("WHHHH", True), ("WHWHH", False), ("WBHHH", False), ("WWWWW", False)]
)
def test_a_probe_that_only_the_bench_failed_ends_with_5(home: Home, letters: str, ours: bool) -> None:
    """The control answers for itself: who asks about four others has no verdict of any of them from it."""
    home.request = replace(home.request, subjects=home.subjects[1:])
    killed = Ending(signal=9)
    story = dict(zip(NAMES, letters, strict=True))
    home.bench.story = lambda _, who: ("".join(story[name] for name in who), killed)
    held = home.hold()
    if not ours:
        raise_if_only_infra_failed(held)
        return
    with pytest.raises(NotMeasured, match="infra-interrupted") as raised:
        raise_if_only_infra_failed(held)
    assert raised.value.exit_code == 5


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with open_store(tmp_path) as store:
        home = Home(store, Told())
        monkeypatch.setattr(cycle, "install", home.install)
        monkeypatch.setattr(
            sessions, "prepare_subject", lambda _, subject, __: PreparedSubject(subject, Path("files"), {})
        )
        yield home


@pytest.mark.parametrize(("slug", "times"), [(InstallFault.TIME, 1), (InstallFault.NETWORK, 3)])
def test_a_build_that_takes_longer_than_it_may_is_not_begun_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, slug: InstallFault, times: int
) -> None:
    monkeypatch.setattr(cycle, "install", home.fail(slug))
    assert home.verdicts() == {"unknown"}
    assert len(home.installed) == times
    assert home.verdicts() == {"unknown"}
    assert len(home.installed) == times + 1  # the next cycle asks again: it may have been given longer


def test_those_who_lost_their_turn_are_asked_together_once_more(home: Home) -> None:
    def killed_in_its_second_subject(count: int, who: tuple[str, ...]) -> tuple[str, Ending]:
        return ("WH", Ending(signal=9)) if count == 0 else ("W" * len(who), Ending(exit_code=0))

    home.bench.story = killed_in_its_second_subject
    assert home.verdicts() == {"works"}
    assert home.bench.held == [(NAMES, False), (NAMES[2:], False), (NAMES[1:2], True)]


def test_where_forking_is_unsafe_everybody_has_a_session_of_their_own(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = SimpleNamespace(forks=False, environment={})
    monkeypatch.setattr(cycle, "RECIPES", {Runtime.TRANSFORMERS: alone})
    assert home.verdicts() == {"works"}
    assert home.bench.held == [((name,), True) for name in NAMES]  # the control is still the first


def test_one_silent_session_of_many_is_no_silent_bench(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = SimpleNamespace(forks=False, environment={})
    monkeypatch.setattr(cycle, "RECIPES", {Runtime.TRANSFORMERS: alone})

    def silent_once(count: int, _: tuple[str, ...]) -> tuple[str, Ending]:
        return ("", Ending(engine_fault="gone")) if count == len(NAMES) - 1 else ("W", Ending(exit_code=0))

    home.bench.story = silent_once
    assert home.verdicts() == {"works"}
    assert home.bench.held == [((name,), True) for name in (*NAMES, NAMES[-1])]


def test_those_who_lose_it_twice_are_asked_one_by_one(home: Home) -> None:
    def killed_twice(count: int, who: tuple[str, ...]) -> tuple[str, Ending]:
        letters = ("WH", "H")[count] if count < 2 else "W" * len(who)
        return letters, Ending(signal=9) if count < 2 else Ending(exit_code=0)

    home.bench.story = killed_twice
    assert home.verdicts() == {"works"}
    assert [len(who) for who, _ in home.bench.held] == [5, 3, 1, 1, 1, 1]


def test_a_dead_engine_is_given_time_to_come_back_but_not_for_ever(home: Home) -> None:
    dead = Ending(engine_fault="gone")
    home.bench.story = lambda count, who: ("WH", dead) if count == 0 else ("H" * len(who), dead)
    assert home.verdicts() == {"works", "unknown"}
    assert home.slept == list(cycle.PAUSES_S)[: len(home.slept)]
    assert 1 < len(home.slept) < len(home.bench.held)


def test_a_failure_of_the_runtime_waits_for_nothing(home: Home) -> None:
    home.bench.story = lambda _, who: ("".join("B" if name == NAMES[2] else "W" for name in who), Ending(exit_code=0))
    assert home.verdicts() == {"works", "broken"}
    assert home.slept == []


def test_a_mended_bench_is_asked_again_the_same_day_and_a_calm_day_is_not(home: Home) -> None:
    home.bench.story = lambda _, who: ("WH" if who == NAMES else "H", Ending(signal=9))
    assert home.verdicts() == {"unknown", "works"}
    home.bench.story = lambda _, who: ("W" * len(who), Ending(exit_code=0))
    assert home.verdicts() == {"works"}
    assert home.bench.held == [(NAMES[1:], False)]
    assert home.verdicts() == {"works"}
    assert home.bench.held == []
