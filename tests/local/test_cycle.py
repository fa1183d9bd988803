"""Which cells a cycle repeats, and together with which, after faults of ours; the sessions are scripted."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from containers.failures import InstallFailure, InstallFault, InstallStage
from containers.recipes import RECIPES
from monitor.cli.outcome import raise_if_only_infra_failed, raise_if_uninstalled
from monitor.domain import Channel, Depth, Ending, Model, ModelKind, Origin, Release, Runtime, Subject, SubjectForm
from monitor.errors import InfraError, NotMeasured
from monitor.judge.runs import Stage
from monitor.runner.cycle import PAUSES_S, CycleResult, run_cycle
from monitor.runner.install import InstallResult
from monitor.runner.parallel import Runner, RuntimeTools
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


class ScriptedSessions:
    """Sessions that go as the story says: the letters of the subjects, and how the session ended."""

    def __init__(self) -> None:
        self.story: Callable[[int, tuple[str, ...]], tuple[str, Ending]] = lambda _, names: (
            "W" * len(names),
            Ending(0),
        )
        self.held: list[tuple[tuple[str, ...], bool]] = []
        self.deep: list[str] = []  # who was asked the deep part, in all sessions
        self.version = ""  # of the session that is held
        self.engine = SimpleNamespace(name="scripted", stop=lambda: None)

    @staticmethod
    def request(_: SessionSpec) -> dict[str, Any]:
        return {}

    def run_session(self, spec: SessionSpec, *, subject_finished: Any, check_finished: Any) -> SessionResult:
        names = tuple(prepared.subject.id for prepared in spec.prepared_subjects)
        self.version = spec.version
        letters, last = self.story(len(self.held), names)
        self.held.append((names, spec.solo))
        self.deep += [prepared.subject.id for prepared in spec.prepared_subjects if prepared.deep]
        ending = Ending(exit_code=0)
        listener = Listener(
            names, check_finished=check_finished, subject_finished=lambda events: subject_finished(events, ending)
        )
        for position, (name, letter) in enumerate(zip(names, letters, strict=False)):
            lines = events(name, letter).splitlines(keepends=True)
            listener.feed(b"".join(lines[3 if position else 0 :]))
        ending = last
        return SessionResult(listener.close(), ending, b"", 0)


class Quiet:
    """Progress that is shown nowhere."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


def scripted_runner(
    store: Store, control: Subject, install: Callable[[ProbeRequest], Any], sessions: Any, **changes: Any
) -> Runner:
    """Return a runner whose installations and sessions are the given ones."""
    installer: Any = SimpleNamespace(install=install, resolve_only=install)
    defaults: dict[str, Any] = {
        "store": store,
        "platform": PLATFORM,
        "control": control,
        "tools_for": lambda runtime: RuntimeTools(RECIPES[runtime], installer, sessions),
        "prepare_subject": lambda subject, _: PreparedSubject(subject, Path("files"), {}),
        "progress": Quiet(),
        "now": lambda: NOW,
        "suite_of": lambda _: "suite-1",
    }
    return Runner(**defaults | changes)


class Home:
    def __init__(self, store: Store, sessions: ScriptedSessions) -> None:
        self.sessions, self.store = sessions, store
        self.recipe = RECIPES[Runtime.TRANSFORMERS]
        self.slept: list[float] = []
        self.installed: list[InstallFault] = []
        self.listed: list[Release] = []
        self.installs: Callable[[ProbeRequest], InstallResult] = self.install
        self.subjects = [
            Subject(name, name, SubjectForm.MINIATURE, "newarch", "files", qualified=True, control=name == NAMES[0])
            for name in NAMES
        ]
        store.record_catalogue(
            [Model(name, name, "newarch", ModelKind.DENSE, "acme", FIRST, "hub") for name in NAMES], self.subjects
        )
        self.request = ProbeRequest(runtime=Runtime.TRANSFORMERS, day=FIRST, cutoff=NOW, subjects=self.subjects)

    def fail(self, slug: InstallFault) -> Callable[..., InstallResult]:
        """Return an installation that fails in building, and is counted."""

        def install(*_: object) -> InstallResult:
            answer = uuid.uuid4().hex
            self.installed.append(slug)
            self.store.record_resolution(
                ResolutionRecord(
                    answer, FIRST, Origin.LIVE, Runtime.TRANSFORMERS, Channel.STABLE, PLATFORM, "", "5.4.0", NOW, NOW,
                    1800.0, failed=Stage.BUILDS, fault=str(slug), message="not done after 1800 s",
                )
            )  # fmt: skip
            failure = InstallFailure(InstallStage.INSTALL, slug, "not done after 1800 s", b"", 1800.0)
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

    def hold(self) -> CycleResult:
        self.sessions.held.clear()
        self.sessions.deep.clear()
        sessions: Any = self.sessions
        installer: Any = SimpleNamespace(install=self.installs, listed_releases=lambda _: self.listed)
        runner = scripted_runner(
            self.store,
            self.subjects[0],
            self.installs,
            sessions,
            tools_for=lambda _: RuntimeTools(self.recipe, installer, sessions),
            sleep=self.slept.append,
        )
        return run_cycle(runner, self.request)

    def verdicts(self) -> set[str]:
        held = self.hold()
        assert len(held.settled) == len(NAMES)
        return {str(one.verdict.verdict) for one in held.settled.values()}


@pytest.mark.parametrize(("slug", "ours"), [("infra-index", True), ("infra-network", True), ("unresolvable", False)])
def test_a_cycle_that_could_install_nothing_for_our_own_fault_ends_with_5(slug: str, ours: bool) -> None:
    failed: Any = SimpleNamespace(slug=slug)
    held = CycleResult(Runtime.TRANSFORMERS, InstallResult("r", "", "none-1", None, failed), {}, (), 0)
    if not ours:
        raise_if_uninstalled([held])
        return
    with pytest.raises(InfraError, match=slug) as raised:
        raise_if_uninstalled([held])
    assert raised.value.exit_code == 5


@pytest.mark.parametrize(
    ("letters", "ours"), [("HHHHH", True), ("WHHHH", True), ("WHWHH", False), ("WBHHH", False), ("WWWWW", False)]
)
def test_a_probe_with_only_faults_of_ours_ends_with_5(home: Home, letters: str, ours: bool) -> None:
    """The control answers for itself: who asks about four others has no verdict of any of them from it."""
    home.request = replace(home.request, subjects=home.subjects[1:])
    killed = Ending(signal=9)
    story = dict(zip(NAMES, letters, strict=True))
    home.sessions.story = lambda _, who: ("".join(story[name] for name in who), killed)
    held = home.hold()
    if not ours:
        raise_if_only_infra_failed(held)
        return
    with pytest.raises(NotMeasured, match="infra-interrupted") as raised:
        raise_if_only_infra_failed(held)
    assert raised.value.exit_code == 5


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_store(tmp_path) as store:
        yield Home(store, ScriptedSessions())


@pytest.mark.parametrize(("slug", "times"), [(InstallFault.TIME, 1), (InstallFault.NETWORK, 3)])
def test_a_build_that_takes_longer_than_it_may_is_not_begun_again(home: Home, slug: InstallFault, times: int) -> None:
    home.installs = home.fail(slug)
    assert home.verdicts() == {"unknown"}
    assert len(home.installed) == times
    assert home.verdicts() == {"unknown"}
    assert len(home.installed) == times + 1  # the next cycle asks again: it may have been given longer


def test_cells_that_lost_their_turn_are_repeated_together_once(home: Home) -> None:
    def killed_in_its_second_subject(count: int, who: tuple[str, ...]) -> tuple[str, Ending]:
        return ("WH", Ending(signal=9)) if count == 0 else ("W" * len(who), Ending(exit_code=0))

    home.sessions.story = killed_in_its_second_subject
    assert home.verdicts() == {"works"}
    assert home.sessions.held == [(NAMES, False), (NAMES[2:], False), (NAMES[1:2], True)]


def test_where_forking_is_unsafe_each_cell_has_its_own_session(home: Home) -> None:
    home.recipe = replace(home.recipe, forks=False)
    assert home.verdicts() == {"works"}
    assert home.sessions.held == [((name,), True) for name in NAMES]  # the control is still the first


def test_one_silent_session_among_many_does_not_end_the_cycle(home: Home) -> None:
    home.recipe = replace(home.recipe, forks=False)

    def silent_once(count: int, _: tuple[str, ...]) -> tuple[str, Ending]:
        return ("", Ending(engine_fault="gone")) if count == len(NAMES) - 1 else ("W", Ending(exit_code=0))

    home.sessions.story = silent_once
    assert home.verdicts() == {"works"}
    assert home.sessions.held == [((name,), True) for name in (*NAMES, NAMES[-1])]


def test_cells_that_lose_their_turn_twice_are_repeated_alone(home: Home) -> None:
    def killed_twice(count: int, who: tuple[str, ...]) -> tuple[str, Ending]:
        letters = ("WH", "H")[count] if count < 2 else "W" * len(who)
        return letters, Ending(signal=9) if count < 2 else Ending(exit_code=0)

    home.sessions.story = killed_twice
    assert home.verdicts() == {"works"}
    assert [len(who) for who, _ in home.sessions.held] == [5, 3, 1, 1, 1, 1]


def test_a_dead_engine_has_a_limited_time_to_come_back(home: Home) -> None:
    dead = Ending(engine_fault="gone")
    home.sessions.story = lambda count, who: ("WH", dead) if count == 0 else ("H" * len(who), dead)
    assert home.verdicts() == {"works", "unknown"}
    assert home.slept == list(PAUSES_S)[: len(home.slept)]
    assert 1 < len(home.slept) < len(home.sessions.held)


def test_a_failure_of_the_runtime_waits_for_nothing(home: Home) -> None:
    home.sessions.story = lambda _, who: (
        "".join("B" if name == NAMES[2] else "W" for name in who),
        Ending(exit_code=0),
    )
    assert home.verdicts() == {"works", "broken"}
    assert home.slept == []


def test_a_fault_of_ours_is_repeated_by_the_next_cycle_and_a_settled_day_is_not(home: Home) -> None:
    home.sessions.story = lambda _, who: ("WH" if who == NAMES else "H", Ending(signal=9))
    assert home.verdicts() == {"unknown", "works"}
    home.sessions.story = lambda _, who: ("W" * len(who), Ending(exit_code=0))
    assert home.verdicts() == {"works"}
    assert home.sessions.held == [(NAMES[1:], False)]
    assert home.verdicts() == {"works"}
    assert home.sessions.held == []


class TwoReleases:
    """Installs the requested version, 5.4.0 where none is, and lets one subject end in each by a letter."""

    def __init__(self, home: Home, letters: dict[str, str]) -> None:
        self.home = home
        self.asked: list[tuple[str, datetime, Origin]] = []
        home.subjects = [
            replace(subject, digest="new files", qualified=subject.id != NAMES[2]) for subject in home.subjects
        ]
        home.store.record_catalogue([], home.subjects)
        home.request = replace(home.request, subjects=home.subjects)
        home.installs = self.install
        home.listed = [
            Release(Runtime.TRANSFORMERS, version, Channel.STABLE, datetime(2026, month, 1, tzinfo=UTC))
            for version, month in (("5.3.0", 2), ("5.4.0", 3))
        ]
        home.sessions.story = lambda _, names: (
            "".join(letters[home.sessions.version] if name == NAMES[2] else "W" for name in names),
            Ending(0),
        )

    def install(self, request: ProbeRequest) -> InstallResult:
        version = request.version or "5.4.0"
        self.asked.append((version, request.cutoff, request.origin))
        digest, answer = f"env-{version}", uuid.uuid4().hex
        self.home.store.record_resolution(
            ResolutionRecord(
                answer, FIRST, request.origin, Runtime.TRANSFORMERS, Channel.STABLE, PLATFORM, request.version,
                version, NOW, NOW, 1.0, environment_digest=digest,
            ),
            EnvironmentRecord(digest, Runtime.TRANSFORMERS, version, PLATFORM, "base", "", {}, NOW),
        )  # fmt: skip
        environment: Any = SimpleNamespace(digest=digest)
        return InstallResult(answer, version, digest, environment)


@pytest.mark.parametrize(
    ("before", "verdict", "blame", "qualified"),
    [("W", "broken", "runtime", True), ("B", "unknown", "unattributed", False)],
)
def test_what_fails_and_has_passed_nowhere_is_tried_in_the_release_before(
    home: Home, before: str, verdict: str, blame: str, *, qualified: bool
) -> None:
    """Llama 4 raises in 5.24.0 and works in 5.23.0: a regression of the newest release read as a fault of ours."""
    releases = TwoReleases(home, {"5.4.0": "B", "5.3.0": before})
    (settled,) = [each.verdict for cell, each in home.hold().settled.items() if NAMES[2] in cell]
    assert (str(settled.verdict), str(settled.blame)) == (verdict, blame)
    assert home.store.subject(NAMES[2]).qualified is qualified
    (_, (version, cutoff, origin)) = releases.asked
    assert (version, origin, cutoff.date()) == ("5.3.0", Origin.ADHOC, datetime(2026, 2, 1, tzinfo=UTC).date())
    (row,) = [row for row in home.store.current() if row["subject"] == NAMES[2]]
    assert (row["verdict"], row["blame"]) == (verdict, blame)
    (by_hand,) = [row for row in home.store.by_release() if row["subject"] == NAMES[2] and row["by_hand"]]
    assert (by_hand["version"], by_hand["day"]) == ("5.3.0", "2026-02-01")
    home.hold()
    assert [version for version, *_ in releases.asked].count("5.3.0") == 1  # tried once with these files


def test_a_miniature_that_works_is_tried_nowhere_else(home: Home) -> None:
    releases = TwoReleases(home, {"5.4.0": "W"})
    home.hold()
    assert [version for version, *_ in releases.asked] == ["5.4.0"]


def test_the_deep_part_is_asked_of_what_is_new_and_of_what_failed_in_it(home: Home) -> None:
    home.request = replace(home.request, depth=Depth.QUICK)
    assert home.verdicts() == {"works"}
    assert home.sessions.deep == []

    home.request = replace(home.request, depth=Depth.NEEDED)
    home.sessions.story = lambda _, who: ("".join("B" if name == NAMES[2] else "W" for name in who), Ending(0))
    assert home.verdicts() == {"works", "flaky"}  # the quick part contradicts itself
    assert set(home.sessions.deep) == set(NAMES)

    home.request = replace(home.request, day=FIRST + timedelta(days=1), depth=Depth.QUICK, force=True)
    home.hold()
    assert set(home.sessions.deep) == {NAMES[2]}  # what failed is asked again in full, whoever asks


def test_the_deep_part_that_was_not_asked_is_due_where_it_is_needed(home: Home) -> None:
    home.request = replace(home.request, depth=Depth.QUICK)
    home.hold()
    home.hold()
    assert home.sessions.held == []
    home.request = replace(home.request, depth=Depth.NEEDED)
    home.hold()
    assert home.sessions.held == [(NAMES, False)]
    home.hold()
    assert home.sessions.held == []
