"""A cell's days, told as a row of letters: B broken, W works, ? a fault of ours, = carried, . nothing at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor.errors import UnknownName, UsageError
from monitor.judge.confirm import Again, Settled, Why, can_be_mended
from monitor.judge.control import Control
from monitor.judge.days import Fingerprint
from monitor.judge.installs import Stage
from monitor.store import EnvironmentRecord, ResolutionRecord, RunDetail, RunRecord, SessionRecord, Store, open_store
from monitor.store.sayings import keep_findings
from monitor.words import (
    Blame,
    Cell,
    CellVerdict,
    Channel,
    Ending,
    Isolation,
    Model,
    ModelKind,
    Origin,
    Outcome,
    Platform,
    Purpose,
    Rung,
    Runtime,
    Subject,
    SubjectForm,
)
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = date(2026, 4, 1)
PLATFORM = Platform("3.11", "cpu", Isolation.CONTAINER)
SUBJECT_CHECKS = wire.RUNTIMES[Runtime.TRANSFORMERS].checks


class World:
    """A store with one model and a control, and a way to make each kind of run happen."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.count = 0
        self.environment = "env-a"
        self.resolved: dict[tuple[date, str, Origin], str] = {}  # what this start of the daemon has asked already
        self.vouched = True  # a control has worked wherever a cell fails
        self._vouched_for: set[tuple[date, Origin, Fingerprint]] = set()
        models, subjects = [], []
        for name, control in (("acme/new", False), ("acme/old", True)):
            models.append(Model(name, name, "newarch", ModelKind.DENSE, "acme", FIRST, "hub", control=control))
            subjects.append(
                Subject(name, name, SubjectForm.MINIATURE, "newarch", f"files-{name}", True, "5.5.0", control)
            )
        store.record_catalogue(models, subjects)
        self.cell = self.cell_of("acme/new")
        self.control = self.cell_of("acme/old")

    @staticmethod
    def cell_of(subject: str) -> Cell:
        return Cell(subject, Runtime.TRANSFORMERS, Channel.STABLE, PLATFORM)

    def resolve(self, day: date, environment: str = "env-a", **changes: Any) -> str:
        self.count += 1
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(seconds=self.count)
        record = EnvironmentRecord(
            environment, Runtime.TRANSFORMERS, "5.4.0", PLATFORM, "base", "torch==2.13.0", {"torch": "2.13.0"}, at
        )
        one = ResolutionRecord(
            id=f"resolution-{self.count}",
            day=day,
            origin=changes.pop("origin", Origin.LIVE),
            runtime=Runtime.TRANSFORMERS,
            channel=Channel.STABLE,
            platform=PLATFORM,
            requested="transformers",
            version="5.4.0",
            cutoff=at,
            at=at,
            seconds=1.0,
            environment_digest=environment,
        )
        one = replace(one, **changes)
        self.store.record_resolution(one, record if one.failed is None else None)
        return one.id

    def run(self, letter: str, day: date, cell: Cell | None = None, **changes: Any) -> RunDetail:
        """Record one run that ends as the letter says."""
        cell = cell or self.cell
        if self.vouched and cell is self.cell and letter in "BHC":
            self._vouch(day, changes)
        fingerprint = changes.pop("fingerprint", self.fingerprint)
        origin = changes.get("origin", Origin.LIVE)
        asked = (day, fingerprint.environment, origin)
        if asked not in self.resolved:
            self.resolved[asked] = self.resolve(day, fingerprint.environment, origin=origin)
        resolution = self.resolved[asked]
        self.count += 1
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(seconds=self.count)
        solo = changes.pop("solo", False)
        factor = changes.pop("limit_factor", 1)
        session = f"session-{self.count}"
        self.store.begin_session(
            SessionRecord(
                session, resolution, fingerprint.environment, fingerprint.suite, "docker", solo, factor, {"wire": 1}, at
            )
        )
        ending = {
            "?": Ending(engine_fault="the engine went away"),
            "H": Ending(timed_out=True, seconds=60),
            "C": Ending(exit_code=139, signal=11),
        }.get(letter, Ending(exit_code=0))
        record = RunRecord(
            cell=cell,
            resolution_id=resolution,
            session_id=session,
            day=day,
            origin=Origin.LIVE,
            purpose=Purpose.PROBE,
            version="5.4.0",
            fingerprint=fingerprint,
            solo=solo,
            limit_factor=factor,
            started_at=at,
            ending=ending,
            events=events(cell.subject_id, letter),
        )
        detail = self.store.record_run(replace(record, **changes))
        self.store.end_session(session, at, ending, log=b"hello from " + session.encode())
        return detail

    def _vouch(self, day: date, changes: dict[str, Any]) -> None:
        """Let the control work where a run is about to fail, once for each day and fingerprint."""
        same = {name: changes[name] for name in ("fingerprint", "origin") if name in changes}
        key = (day, same.get("origin", Origin.LIVE), same.get("fingerprint", self.fingerprint))
        if key not in self._vouched_for:
            self._vouched_for.add(key)
            self.run("W", day, self.control, **same)

    def decide(self, day: date, cell: Cell | None = None) -> Settled | Again:
        return self.store.decision(cell or self.cell, day, Origin.LIVE, fingerprint=self.fingerprint, version="5.4.0")

    def settle(self, letter: str, day: date) -> None:
        """Run as often as the judge asks, each time with the same outcome."""
        while isinstance(again := self.decide(day), Again):
            self.run(letter, day, solo=again.solo, limit_factor=again.limit_factor)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.environment, "suite-1", "files")

    def carry_over(self, days: list[date], resolution: str) -> int:
        fingerprints = {self.cell.id: self.fingerprint}
        return self.store.carry_over(
            [self.cell], days, Origin.LIVE, resolution_id=resolution, fingerprints=fingerprints
        )

    def release(self) -> None:
        """Let the index give another lock from now on."""
        self.count += 1
        self.environment = f"env-{self.count}"

    def live(self, story: str) -> None:
        """Live through one day a letter; where another verdict is to come, something else is installed."""
        known = ""
        for offset, letter in enumerate(story):
            day = FIRST + timedelta(days=offset)
            if letter == "=":
                resolution = self.resolve(day)
                fingerprints = {self.cell.id: self.fingerprint}
                self.store.carry([self.cell], day, Origin.LIVE, resolution_id=resolution, fingerprints=fingerprints)
            elif letter != ".":
                if known and letter not in ("?", known):
                    self.release()
                known = known if letter == "?" else letter
                self.settle(letter, day)

    def story(self) -> str:
        days = {row["day"]: row for row in self.store.history(cell=self.cell.id)}
        if not days:
            return ""
        letters = {"works": "W", "broken": "B", "flaky": "F", "unknown": "?"}
        last = date.fromisoformat(max(days))
        every = [(FIRST + timedelta(days=n)).isoformat() for n in range((last - FIRST).days + 1)]
        return "".join(letters[days[day]["verdict"]] if day in days else "." for day in every)

    def flips(self) -> list[tuple[str, str, str]]:
        return [(one["day"], one["before"], one["after"]) for one in self.store.cell_detail(self.cell.id).flips]


def events(subject: str, letter: str) -> bytes:
    """Return what a probe writes: everything passes, or the loading fails, crashes or hangs."""
    lines: list[dict[str, Any]] = [
        {"event": "started", "subject": None, "check": "installs.imports"},
        {"event": "finished", "subject": None, "check": "installs.imports", "outcome": "passed", "seconds": 1.0},
        {
            "event": "session", "wire": wire.WIRE, "suite": "suite-1", "runtime": "transformers", "version": "5.4.0",
            "python": "3.11.2",
        },
    ]  # fmt: skip
    if letter == "?":
        return b""
    for check in SUBJECT_CHECKS:
        lines.append({"event": "started", "subject": subject, "check": check})
        if letter in "HC" and check == "generates.forward":
            break
        skipped = {"S": "generates.cache", "L": "knows.config"}.get(letter)
        failing = {
            "B": ("loads.tensors", "missing-tensors"),
            "U": ("loads.model", "unclassified"),
            "K": ("knows.architecture", "unknown-architecture"),
            "X": ("loads.tensors", "unexpected-tensors"),
        }.get(letter)
        finished = {"event": "finished", "subject": subject, "check": check, "outcome": "passed", "seconds": 0.1}
        if failing and failing[0] == check:
            finished |= {"outcome": "failed", "fault": failing[1], "message": "KeyError: 'lm_head.weight'"}
            lines.append(finished)
            break
        if check == skipped:
            finished |= {"outcome": "skipped", "message": "there is nothing to compare with"}
        lines.append(finished)
    lines.append({"event": "fact", "subject": subject, "name": "logprobs", "value": [1.5, 2]})
    return b"".join(json.dumps(line | {"at": float(n)}).encode() + b"\n" for n, line in enumerate(lines))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        yield World(store)


@pytest.mark.parametrize(
    ("lived", "known", "flips"),
    [
        ("W", "W", []),
        ("B", "B", []),  # the first verdict is no change
        ("BBW", "BBW", [("2026-04-03", "broken", "works")]),
        ("BBW?WW", "BBW?WW", [("2026-04-03", "broken", "works")]),
        ("WW?B", "WW?B", [("2026-04-04", "works", "broken")]),
        ("?W", "?W", []),
        ("W..B.W", "W..B.W", [("2026-04-04", "works", "broken"), ("2026-04-06", "broken", "works")]),
        ("W==B=", "WWWBB", [("2026-04-04", "works", "broken")]),
        ("WH", "WB", [("2026-04-02", "works", "broken")]),
        ("WC", "WB", [("2026-04-02", "works", "broken")]),
        ("?=", "?", []),  # nothing is carried from a day that knows nothing
    ],
)
def test_days_and_flips(world: World, lived: str, known: str, flips: list[tuple[str, str, str]]) -> None:
    world.live(lived)
    assert world.story() == known
    assert world.flips() == flips
    before = list(world.store.query("SELECT * FROM days ORDER BY cell_id, day").rows)
    again = world.store.rejudge()
    assert (again.changed_runs, again.changed_days, again.without_events) == (0, 0, 0)
    assert list(world.store.query("SELECT * FROM days ORDER BY cell_id, day").rows) == before
    assert world.flips() == flips


def test_the_first_pass_needs_one_run_and_a_change_three_sessions_one_of_them_alone(world: World) -> None:
    world.settle("W", FIRST)
    assert len(world.store.cell_detail(world.cell.id).runs) == 1
    world.release()
    world.settle("B", FIRST + timedelta(days=1))
    runs = [run for run in world.store.cell_detail(world.cell.id).runs if run["day"] != FIRST.isoformat()]
    assert [run["solo"] for run in runs] == [0, 1, 0]


def test_until_it_is_confirmed_a_change_is_unknown_and_the_flip_keeps_its_first_day(world: World) -> None:
    second, third = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
    world.settle("W", FIRST)
    world.release()
    world.run("B", second)
    assert world.story() == "W?"
    assert world.store.history(cell=world.cell.id)[1]["reason"].startswith("not confirmed yet: loads: loads.tensors")
    world.settle("B", third)
    assert world.story() == "W?B"
    assert world.flips() == [(second.isoformat(), "works", "broken")]


def test_a_failure_only_in_a_fork_is_the_forks(world: World) -> None:
    world.run("B", FIRST)
    assert world.decide(FIRST) == Again(Why.FORK, world.decide(FIRST).leaning)  # type: ignore[union-attr]
    world.run("W", FIRST, solo=True)
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert settled.verdict.verdict is CellVerdict.WORKS
    assert settled.note == "failed in a fork, works in a fresh process"


def test_what_the_runtimes_own_table_does_not_hold_needs_no_fresh_process(world: World) -> None:
    world.run("K", FIRST)
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert settled.verdict.verdict is CellVerdict.BROKEN


def test_an_architecture_that_is_gone_again_is_a_change_like_any_other(world: World) -> None:
    world.settle("W", FIRST)
    world.release()
    second = FIRST + timedelta(days=1)
    world.run("K", second)
    again = world.decide(second)
    assert isinstance(again, Again)
    assert again.why is Why.CHANGE
    world.settle("K", second)
    assert world.flips() == [(second.isoformat(), "works", "broken")]


def test_the_failure_that_stands_needs_no_fresh_process_again_but_another_one_does(world: World) -> None:
    second, third = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
    world.settle("B", FIRST)
    world.release()
    world.settle("B", second)
    world.release()
    world.settle("C", third)
    runs = [(run["day"], run["solo"]) for run in world.store.cell_detail(world.cell.id).runs]
    assert [solo for day, solo in runs if day == second.isoformat()] == [0]
    assert [solo for day, solo in runs if day == third.isoformat()] == [0, 1]
    assert world.story() == "BBB"


def test_fresh_runs_that_disagree_are_flaky(world: World) -> None:
    world.run("W", FIRST, solo=True)
    world.run("B", FIRST, solo=True)
    assert world.story() == "F"


@pytest.mark.parametrize(("first", "then"), ["WB", "BW", "WC"])
def test_another_outcome_on_another_day_with_nothing_changed_is_flaky(world: World, first: str, then: str) -> None:
    second, third, fourth = (FIRST + timedelta(days=n) for n in (1, 2, 3))
    world.settle(first, FIRST)
    before = world.story()
    world.settle(then, second)
    assert world.story() == before + "F"
    assert [flip[2] for flip in world.flips()] == ["flaky"]
    row = world.store.history(cell=world.cell.id)[1]
    assert "with nothing changed" in row["reason"]
    assert row["rung"] in ("loads", "generates")
    world.settle(first, third)
    world.settle(then, fourth)
    assert world.story() == before + "FFF"  # until something changes
    assert len(world.flips()) == 1
    assert world.store.rejudge().changed_days == 0


def test_a_hang_counts_only_alone_with_three_times_the_limit(world: World) -> None:
    world.run("H", FIRST)
    again = world.decide(FIRST)
    assert isinstance(again, Again)
    assert (again.why, again.solo, again.limit_factor) == (Why.HANG, True, 3)
    assert world.story() == "?"
    world.run("H", FIRST, solo=True, limit_factor=3)
    assert world.store.current()[0]["fault"] == "hung"
    assert world.story() == "B"


def test_the_bench_gets_two_more_tries(world: World) -> None:
    world.settle("?", FIRST)
    assert len(world.store.cell_detail(world.cell.id).runs) == 3
    row = world.store.current()[0]
    assert (row["verdict"], row["blame"], row["fault"]) == ("unknown", "bench", "bench-engine")


def test_what_the_bench_spoiled_does_not_count_once_it_is_started_anew(world: World) -> None:
    world.settle("?", FIRST)
    world.resolved.clear()
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert can_be_mended(settled.verdict)
    world.run("?", FIRST)
    assert isinstance(world.decide(FIRST), Again)  # the retries begin anew
    world.run("W", FIRST)
    assert world.story() == "W"
    world.resolved.clear()
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert not can_be_mended(settled.verdict)
    assert world.store.rejudge().changed_days == 0


@pytest.mark.parametrize(
    ("form", "blame"), [(SubjectForm.FOLDER, Blame.UNATTRIBUTED), (SubjectForm.MINIATURE, Blame.RUNTIME)]
)
def test_an_extra_tensor_is_the_runtimes_only_where_the_files_are_known(
    world: World, form: SubjectForm, blame: Blame
) -> None:
    subject = replace(world.store.subject("acme/new"), form=form, qualified=form is SubjectForm.MINIATURE)
    world.store.record_catalogue([], [subject])
    world.run("W", FIRST, world.control)
    run = world.run("X", FIRST, solo=True)
    assert world.story() == "B"
    assert world.store.current(cell=world.cell.id)[0]["blame"] == str(blame)
    assert [check.blame for check in run.checks if check.outcome is Outcome.FAILED] == [blame]


def test_an_unclassified_failure_needs_the_control_and_a_fresh_process(world: World) -> None:
    world.run("U", FIRST)
    assert isinstance(world.decide(FIRST), Settled)
    assert world.story() == "?"
    world.run("W", FIRST, world.control)
    assert world.decide(FIRST).why is Why.UNCLASSIFIED  # type: ignore[union-attr]
    world.run("U", FIRST, solo=True)
    assert world.story() == "B"
    assert world.store.current(cell=world.cell.id)[0]["blame"] == "unattributed"


def test_a_failing_control_makes_the_day_unknown_until_the_last_good_environment_answers(world: World) -> None:
    second = FIRST + timedelta(days=1)
    world.vouched = False
    world.run("W", FIRST, world.control)
    new = Fingerprint("env-b", "suite-1", "files")
    for solo in (False, True):
        world.run("B", second, solo=solo, fingerprint=new)
    assert world.story() == ".?"  # no control has answered
    for solo in (False, True):
        world.run("B", second, world.control, solo=solo, fingerprint=new)
    assert world.story() == ".?"
    good = world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=second, other_than="env-b")
    assert good is not None
    assert good.digest == "env-a"
    assert (
        world.store.control_in(world.cell, second, Origin.LIVE, environment="env-b", suite="suite-1") is Control.PENDING
    )
    world.run("W", second, world.control, purpose=Purpose.CONTROL)
    assert world.story() == ".B"  # the release, or what it stands on: for everyone
    world.run("B", second, world.control, purpose=Purpose.CONTROL)
    assert world.story() == ".B"  # one success in the good environment proves the bench able


def test_a_control_in_another_environment_speaks_under_the_version_that_was_told_there(world: World) -> None:
    """With another package pinned by hand, what it says is no answer for the release itself."""
    pair = "0.18.0 with transformers==5.2.0"
    world.run("W", FIRST, world.control, origin=Origin.ADHOC, version=pair)
    good = world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=FIRST, other_than="env-b")
    assert good is not None
    assert good.version == pair


def test_a_release_of_the_afternoon_is_asked_about_in_the_environment_of_the_morning(world: World) -> None:
    world.run("W", FIRST, world.control)
    for solo in (False, True):
        world.run("B", FIRST, world.control, solo=solo, fingerprint=Fingerprint("env-b", "suite-1", "files"))
    good = world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=FIRST, other_than="env-b")
    assert good is not None
    assert good.digest == "env-a"
    assert world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=FIRST, other_than="env-a") is None


def test_a_control_that_fails_only_in_a_fork_is_green(world: World) -> None:
    world.run("B", FIRST, world.control)
    again = world.decide(FIRST, world.control)
    assert isinstance(again, Again)
    assert (again.why, again.solo) == (Why.FORK, True)
    world.run("W", FIRST, world.control, solo=True)
    for solo in (False, True):
        world.run("U", FIRST, solo=solo)
    assert world.store.control_in(world.cell, FIRST, Origin.LIVE, environment="env-a", suite="suite-1") is Control.GREEN
    assert world.story() == "B"


def test_a_failure_counts_only_beside_a_control_that_answered_the_same_suite(world: World) -> None:
    world.vouched = False
    world.run("?", FIRST, world.control)
    world.run("W", FIRST, world.control, fingerprint=Fingerprint("env-a", "suite-0", "files"))
    for solo in (False, True):
        world.run("B", FIRST, solo=solo)
    assert world.story() == "?"
    assert "no control has answered" in world.store.current(cell=world.cell.id)[0]["reason"]
    world.run("W", FIRST, world.control)
    assert world.story() == "B"


def test_a_control_that_fails_everywhere_makes_the_day_unknown(world: World) -> None:
    world.vouched = False
    new = Fingerprint("env-b", "suite-1", "files")
    for solo in (False, True):
        world.run("B", FIRST, solo=solo, fingerprint=new)
    world.run("B", FIRST, world.control, fingerprint=new)
    world.run("B", FIRST, world.control, purpose=Purpose.CONTROL)
    assert world.story() == "?"
    assert "the control fails here and in the last good environment too" in world.store.current()[0]["reason"]


def test_live_wins_over_replay_and_adhoc_is_no_history(world: World) -> None:
    world.run("B", FIRST, solo=True, origin=Origin.REPLAY)
    assert world.story() == "B"
    world.run("W", FIRST)
    assert world.story() == "W"
    world.run("B", FIRST + timedelta(days=1), solo=True, origin=Origin.ADHOC)
    assert world.story() == "W"


def test_an_outage_in_the_evening_does_not_unsay_the_morning(world: World) -> None:
    world.run("W", FIRST)
    world.run("?", FIRST, fingerprint=Fingerprint("none-1", "suite-1", "files"))
    assert world.story() == "W"
    second, third = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
    world.live(".=")
    world.run("?", second, fingerprint=Fingerprint("none-1", "suite-1", "files"))
    assert world.story() == "WW"  # nor a day on which nothing had changed
    world.run("?", third)
    assert world.story() == "WW?"
    world.run("W", third, origin=Origin.REPLAY)  # what was missed can be filled
    assert world.story() == "WWW"


def test_replay_fills_the_past_and_the_days_after_are_judged_again(world: World) -> None:
    second, third = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
    for _ in range(3):
        world.run("W", third, solo=True)
    assert world.flips() == []
    world.release()
    for _ in range(3):
        world.run("B", second, solo=True, origin=Origin.REPLAY)
    assert world.story() == ".BW"
    assert world.flips() == [(third.isoformat(), "broken", "works")]


def test_a_replay_carries_many_days_at_once_and_their_rungs_are_the_source_days(world: World) -> None:
    world.settle("W", FIRST)
    days = [FIRST + timedelta(days=n) for n in (1, 2, 3)]
    assert world.carry_over(days, world.resolve(FIRST)) == 3
    assert world.carry_over(days, world.resolve(FIRST)) == 0
    assert world.story() == "WWWW"
    shown = world.store.cell_detail(world.cell.id).days
    assert [one.carried_from for one in shown] == [None, FIRST, FIRST, FIRST]
    assert len({one.verdict.rungs for one in shown}) == 1
    assert world.store.query("SELECT DISTINCT day FROM day_rungs").rows == ((FIRST.isoformat(),),)
    assert world.store.matrix(cell=world.cell.id)
    assert world.store.rejudge().changed_days == 0


def test_what_another_lock_gave_is_not_carried_over(world: World) -> None:
    world.settle("W", FIRST)
    resolution = world.resolve(FIRST)
    world.release()
    fingerprints = {world.cell.id: world.fingerprint}
    day = FIRST + timedelta(days=1)
    assert (
        world.store.carry_over([world.cell], [day], Origin.LIVE, resolution_id=resolution, fingerprints=fingerprints)
        == 0
    )
    assert world.story() == "W"


def test_a_new_suite_first_answers_for_the_old_environment(world: World) -> None:
    second = FIRST + timedelta(days=1)
    new = Fingerprint("env-a", "suite-2", "files")
    world.settle("W", FIRST)
    assert set(world.store.cells_to_reprobe([world.cell], second, suite="suite-2")) == {world.cell.id}
    world.run("B", second, solo=True, fingerprint=new, purpose=Purpose.SUITE)
    assert world.store.cells_to_reprobe([world.cell], second, suite="suite-2") == {}
    world.run("B", second, solo=True, fingerprint=new)
    assert world.story() == "WB"
    assert world.flips() == []
    note = world.store.history(cell=world.cell.id)[1]["note"]
    assert note == "suite changed: it says broken where the one before said works"


def test_a_failed_installation_is_every_cells_and_blames_what_it_should(world: World) -> None:
    for fault, verdict, blame in (("unresolvable", "broken", "dependency"), ("bench-index", "unknown", "bench")):
        resolution = world.resolve(
            FIRST, failed=Stage.RESOLVES, fault=fault, message="no solution found", environment_digest=""
        )
        run = RunRecord(
            cell=world.cell,
            resolution_id=resolution,
            session_id="",
            day=FIRST,
            origin=Origin.LIVE,
            purpose=Purpose.PROBE,
            version="5.4.0",
            fingerprint=Fingerprint(f"unresolved:{fault}", "suite-1", "files"),
            solo=True,
            started_at=datetime(2026, 4, 1, 12, world.count, tzinfo=UTC),
        )
        detail = world.store.record_run(run)
        assert (str(detail.verdict.verdict), str(detail.verdict.blame)) == (verdict, blame)
        assert detail.verdict.rung is Rung.INSTALLS
        assert {check.outcome for check in detail.checks if check.rung is Rung.KNOWS} == {Outcome.NOT_REACHED}
    assert world.store.rejudge().changed_runs == 0


def test_recording_twice_doubles_nothing(world: World) -> None:
    first = world.run("W", FIRST)
    before = world.store.query("SELECT count(*) FROM runs").rows
    row = first.row
    again = RunRecord(
        cell=world.cell,
        resolution_id=row["resolution_id"],
        session_id=row["session_id"],
        day=FIRST,
        origin=Origin.LIVE,
        purpose=Purpose.PROBE,
        version="5.4.0",
        fingerprint=Fingerprint("env-a", "suite-1", "files"),
        solo=False,
        started_at=datetime.fromisoformat(row["started_at"]),
        ending=Ending(exit_code=0),
        events=events(world.cell.subject_id, "B"),
    )
    assert world.store.record_run(again).checks == first.checks
    assert world.store.query("SELECT count(*) FROM runs").rows == before
    assert world.store.query("SELECT count(*) FROM facts").rows == ((1,),)


def test_what_a_run_leaves_behind_can_be_read(world: World) -> None:
    detail = world.run("B", FIRST, solo=True)
    read = world.store.run_detail(detail.id[:8])
    assert read.checks == detail.checks
    assert read.verdict.blame is Blame.RUNTIME
    assert read.facts == {"logprobs": [1.5, 2]}
    assert read.ending is not None
    assert world.store.log(read.ending["log_digest"]) == b"hello from " + read.row["session_id"].encode()
    assert read.session is not None
    assert world.store.request(read.session["request_digest"]) == {"wire": 1}
    assert world.store.environment("env-a") is not None
    with pytest.raises(UnknownName, match="no run is called"):
        world.store.run_detail("nothing")
    with pytest.raises(UnknownName, match="no cell is called"):
        world.store.cell_detail("nothing")


def test_the_views_answer_in_the_documented_columns(world: World) -> None:
    world.run("W", FIRST)
    documented = ("model", "family", "architecture", "runtime", "version", "channel", "platform", "day", "verdict")
    assert world.store.query("SELECT * FROM current").columns[:11] == (*documented, "rung", "reason")
    assert {*documented, "rung", "reason", "carried", "origin"} <= {*world.store.query("SELECT * FROM history").columns}
    rungs = [(row["rung"], row["verdict"]) for row in world.store.matrix()]
    assert rungs == [(str(rung), "passed") for rung in (Rung(n) for n in range(6))]
    assert world.store.current(verdict="broken") == []
    with pytest.raises(UnknownName, match="no column is called"):
        world.store.current(weather="fine")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM models", "only reading"),
        ("INSERT INTO facts VALUES (1, 2, 3)", "only reading"),
        ("DROP TABLE runs", "only reading"),
        ("ATTACH 'x.db' AS x", "only reading"),
        ("PRAGMA journal_mode = DELETE", "only reading"),
        ("SELECT load_extension('x')", "only reading"),
        ("CREATE TEMP TABLE t (a)", "only reading"),
        ("VACUUM INTO 'copy.db'", "only reading"),
        ("BEGIN", "only reading"),
        ("SELECT a FROM nowhere", "no such table"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "asks nothing"),
    ],
)
def test_sql_that_writes_or_is_wrong_gets_a_sentence(world: World, sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        world.store.query(sql)


def test_sql_reads_freely(world: World) -> None:
    world.run("W", FIRST)
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT max(i) FROM n"
    assert world.store.query(counting).rows == ((5,),)
    unpacked = "SELECT json_each.value FROM environments, json_each(packages)"
    assert world.store.query(unpacked).rows == (("2.13.0",),)
    assert world.store.query("SELECT count(*) AS n FROM pragma_table_info('runs')").columns == ("n",)


def test_the_longest_facts_stay_in_the_events_of_their_run(world: World, tmp_path: Path) -> None:
    detail = world.run("W", FIRST)
    assert world.store.query("SELECT name, value FROM facts").rows == (("logprobs", None),)
    assert world.store.run_detail(detail.id).facts == {"logprobs": [1.5, 2]}
    shutil.rmtree(tmp_path / "events")
    assert world.store.run_detail(detail.id).facts == {}


def test_what_is_said_again_is_kept_once_and_what_nobody_says_any_more_is_forgotten(world: World) -> None:
    world.run("W", FIRST)
    kept = "SELECT (SELECT count(*) FROM findings), (SELECT count(*) FROM opinions)"
    before = world.store.query(kept).rows
    world.run("W", FIRST + timedelta(days=1), fingerprint=replace(world.fingerprint, environment="env-b"))
    assert world.store.query(kept).rows == before
    with world.store._db.atomic():
        keep_findings(world.store._db, [("never.asked", "knows", "passed", "", None, "", "", None)])
    assert world.store.query(kept).rows != before
    world.store.rejudge()
    assert world.store.query(kept).rows == before


def test_sql_that_never_ends_is_ended(world: World) -> None:
    from monitor.store.queries import query

    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(UsageError, match="longer than"):
        query(world.store.path, endless, patience_s=0.2)
