"""A cell's days, told as a row of letters: B broken, W works, ? a fault of ours, = carried, . nothing at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor import verdicts
from monitor.domain import (
    Blame,
    CellVerdict,
    Ending,
    Origin,
    Outcome,
    Purpose,
    Rung,
    SubjectForm,
)
from monitor.judge.confirm import RetryNeeded, RetryReason, Settled, can_be_mended
from monitor.judge.days import Fingerprint
from monitor.judge.runs import Stage
from monitor.store import RunRecord
from monitor.wire.stream import read_events
from tests.standins.days import FIRST, World, events


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
    again = verdicts.rejudge(world.store)
    assert (again.changed_runs, again.changed_days, again.without_events) == (0, 0, 0)
    assert list(world.store.query("SELECT * FROM days ORDER BY cell_id, day").rows) == before
    assert world.flips() == flips


def test_the_first_pass_needs_one_run_and_a_change_three_sessions_one_of_them_alone(world: World) -> None:
    world.settle("W", FIRST)
    assert len(world.store.cells.detail(world.cell.id).runs) == 1
    world.release()
    world.settle("B", FIRST + timedelta(days=1))
    runs = [run for run in world.store.cells.detail(world.cell.id).runs if run["day"] != FIRST.isoformat()]
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
    assert world.decide(FIRST) == RetryNeeded(RetryReason.FORK, world.decide(FIRST).leaning)  # type: ignore[union-attr]
    world.run("W", FIRST, solo=True)
    for letter, solo in (("B", False), ("W", True)):  # it is the fork's only where it comes with every fork
        again = world.decide(FIRST)
        assert isinstance(again, RetryNeeded)
        assert (again.why, again.solo) == (RetryReason.MIXED, solo)
        world.run(letter, FIRST, solo=solo)
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert settled.verdict.verdict is CellVerdict.WORKS
    assert settled.note == "failed in a fork, works in a fresh process"


@pytest.mark.parametrize("letter", ["K", "A"])  # asked for its table, or opening the files by it
def test_what_the_runtimes_own_table_does_not_hold_needs_no_fresh_process(world: World, letter: str) -> None:
    world.run(letter, FIRST)
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert settled.verdict.verdict is CellVerdict.BROKEN


def test_an_architecture_that_is_gone_again_is_a_change_like_any_other(world: World) -> None:
    world.settle("W", FIRST)
    world.release()
    second = FIRST + timedelta(days=1)
    world.run("K", second)
    again = world.decide(second)
    assert isinstance(again, RetryNeeded)
    assert again.why is RetryReason.CHANGE
    world.settle("K", second)
    assert world.flips() == [(second.isoformat(), "works", "broken")]


def test_the_failure_that_stands_needs_no_fresh_process_again_but_another_one_does(world: World) -> None:
    second, third = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
    world.settle("B", FIRST)
    world.release()
    world.settle("B", second)
    world.release()
    world.settle("C", third)
    runs = [(run["day"], run["solo"]) for run in world.store.cells.detail(world.cell.id).runs]
    assert [solo for day, solo in runs if day == second.isoformat()] == [0]
    assert [solo for day, solo in runs if day == third.isoformat()] == [0, 1]
    assert world.story() == "BBB"


def test_fresh_runs_that_disagree_are_flaky(world: World) -> None:
    world.run("W", FIRST, solo=True)
    world.run("B", FIRST, solo=True)
    assert world.story() == "?"  # one more session, whichever came first
    world.run("W", FIRST, solo=True)
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
    assert verdicts.rejudge(world.store).changed_days == 0


def test_a_hang_counts_only_alone_with_three_times_the_limit(world: World) -> None:
    world.run("H", FIRST)
    again = world.decide(FIRST)
    assert isinstance(again, RetryNeeded)
    assert (again.why, again.solo, again.limit_factor) == (RetryReason.HANG, True, 3)
    assert world.story() == "?"
    world.run("H", FIRST, solo=True, limit_factor=3)
    assert world.store.current()[0]["fault"] == "hung"
    assert world.story() == "B"


def test_the_bench_gets_two_more_tries(world: World) -> None:
    world.settle("?", FIRST)
    assert len(world.store.cells.detail(world.cell.id).runs) == 3
    row = world.store.current()[0]
    assert (row["verdict"], row["blame"], row["fault"]) == ("unknown", "infra", "infra-engine")


def test_what_the_bench_spoiled_does_not_count_once_it_is_started_anew(world: World) -> None:
    world.settle("?", FIRST)
    world.resolved.clear()
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert can_be_mended(settled.verdict)
    world.run("?", FIRST)
    assert isinstance(world.decide(FIRST), RetryNeeded)  # the retries begin anew
    world.run("W", FIRST)
    assert world.story() == "W"
    world.resolved.clear()
    settled = world.decide(FIRST)
    assert isinstance(settled, Settled)
    assert not can_be_mended(settled.verdict)
    assert verdicts.rejudge(world.store).changed_days == 0


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
    assert world.story() == "?"  # one session of its own is not enough
    run = world.run("X", FIRST, solo=True)
    assert world.story() == "B"
    assert world.store.current(cell=world.cell.id)[0]["blame"] == str(blame)
    assert [check.blame for check in run.checks if check.outcome is Outcome.FAILED] == [blame]


def test_live_wins_over_replay_and_adhoc_is_no_history(world: World) -> None:
    for _ in range(2):
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
    assert world.carry(days, world.resolve(FIRST)) == 3
    assert world.carry(days, world.resolve(FIRST)) == 0
    assert world.story() == "WWWW"
    shown = world.store.cells.detail(world.cell.id).days
    assert [one.carried_from for one in shown] == [None, FIRST, FIRST, FIRST]
    assert len({one.verdict.rungs for one in shown}) == 1
    assert world.store.query("SELECT DISTINCT day FROM day_rungs").rows == ((FIRST.isoformat(),),)
    assert world.store.matrix(cell=world.cell.id)
    assert verdicts.rejudge(world.store).changed_days == 0


def test_what_another_lock_gave_is_not_carried_over(world: World) -> None:
    world.settle("W", FIRST)
    resolution = world.resolve(FIRST)
    world.release()
    fingerprints = {world.cell.id: world.fingerprint}
    day = FIRST + timedelta(days=1)
    cells = [world.cell]
    carried = verdicts.carry(
        world.store, cells, [day], Origin.LIVE, resolution_id=resolution, fingerprints=fingerprints
    )
    assert carried == ((), 0)
    assert world.story() == "W"


def test_a_new_suite_first_answers_for_the_old_environment(world: World) -> None:
    second = FIRST + timedelta(days=1)
    new = Fingerprint("env-a", "suite-2", "files")
    world.settle("W", FIRST)
    assert set(verdicts.cells_to_reprobe(world.store, [world.cell], second, suite="suite-2")) == {world.cell.id}
    world.run("B", second, solo=True, fingerprint=new, purpose=Purpose.SUITE)
    assert verdicts.cells_to_reprobe(world.store, [world.cell], second, suite="suite-2") == {}
    world.run("B", second, solo=True, fingerprint=new)
    assert world.story() == "WB"
    assert world.flips() == []
    note = world.store.history(cell=world.cell.id)[1]["note"]
    assert note == "suite changed: it finds broken where the suite before found works"


def test_a_failed_installation_is_every_cells_and_blames_what_it_should(world: World) -> None:
    for fault, verdict, blame in (("unresolvable", "broken", "dependency"), ("infra-index", "unknown", "infra")):
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
        detail = verdicts.record_run(world.store, run)
        assert (str(detail.verdict.verdict), str(detail.verdict.blame)) == (verdict, blame)
        assert detail.verdict.rung is Rung.INSTALLS
        assert {check.outcome for check in detail.checks if check.rung is Rung.KNOWS} == {Outcome.NOT_REACHED}
    assert verdicts.rejudge(world.store).changed_runs == 0


def test_recording_twice_doubles_nothing(world: World) -> None:
    first = world.run("W", FIRST)
    before = world.store.query("SELECT count(*) FROM runs").rows
    row = first.row
    raw = events(world.cell.subject_id, "B")
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
        events=raw,
        session=read_events(raw, [world.cell.subject_id]),
    )
    assert verdicts.record_run(world.store, again).checks == first.checks
    assert world.store.query("SELECT count(*) FROM runs").rows == before
    assert world.store.query("SELECT count(*) FROM facts").rows == ((1,),)
