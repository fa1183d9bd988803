"""What is right about a subject's files, through the database: past days, other runtimes, and what is pinned."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor import verdicts
from monitor.domain import Cell, CellVerdict, Origin, Runtime
from monitor.judge.confirm import RetryNeeded, RetryReason, Settled
from monitor.judge.parity import ParityCause
from monitor.store import open_store
from monitor.store.traces import Files
from tests.standins.days import FIRST, World
from tests.standins.traces import TRACE, told

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.verdicts import RunDetail

BROKEN = {"outcome": "failed", "fault": "cache-differs", "message": "differs"}
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)


def answered(lower: float, *, independent: bool = False) -> dict[str, Any]:
    top = [[7, 8], [-1.0 - lower, -2.0 - lower]]
    return {"prompts": [{"ids": [1, 2], "from": 1, "top": [top]}], "spread": 1.0, "independent": independent}


def reference(world: World, day: date, lower: float, version: str, **changes: Any) -> RunDetail:
    facts = {"logprobs": answered(lower), **changes.pop("facts", {})}
    raw = told("acme/new", Runtime.TRANSFORMERS, facts)
    return world.run("W", day, events=raw, version=version, **changes)


def beside(world: World, runtime: Runtime, lower: float, *, wrong: str = "", independent: bool = True) -> Cell:
    cell = replace(world.cell, runtime=runtime)
    control = replace(world.control, runtime=runtime)
    world.run("W", THIRD, control, events=told("acme/old", runtime, {}), version="1")
    facts = {"logprobs": answered(lower, independent=independent)}
    world.run("W", THIRD, cell, events=told("acme/new", runtime, facts, wrong=wrong), version="1")
    return cell


def matches(world: World, cell: Cell) -> tuple[str, str | None]:
    day = world.store.cells.detail(cell.id).days[-1]
    (rung,) = [each for each in day.verdict.rungs if str(each.rung) == "matches"]
    return str(rung.verdict), str(rung.blame) if rung.blame else None


def two_sides(world: World) -> None:
    reference(world, FIRST, 0.0, "5.0.0")
    world.release()
    reference(world, SECOND, 0.0, "5.21.0")
    world.release()
    reference(world, THIRD, 4.0, "5.22.0")


def test_a_model_works_from_the_release_on_that_an_independent_code_base_agrees_with(world: World) -> None:
    two_sides(world)
    assert world.story() == "???"  # the reference contradicts itself, and nobody can decide
    assert world.store.history(cell=world.cell.id)[0]["blame"] == "reference"
    cell = beside(world, Runtime.XLLAMACPP, 4.00001)
    assert world.story() == "BBW"
    assert world.flips() == [(THIRD.isoformat(), "broken", "works")]
    rows = world.store.history(cell=world.cell.id)
    assert [(row["rung"], row["blame"], row["fault"]) for row in rows[:2]] == [
        ("matches", "runtime", "wrong-answer")
    ] * 2
    assert "llama.cpp agrees with transformers 5.22.0" in rows[0]["reason"]
    assert matches(world, world.cell)[0] == matches(world, cell)[0] == "passed"
    assert verdicts.rejudge(world.store).changed_days == 0
    assert world.story() == "BBW"


def test_a_release_that_fails_by_other_checks_is_no_side(world: World) -> None:
    """A fault that was seen and repaired puts nothing in dispute."""
    raw = told("acme/new", Runtime.TRANSFORMERS, {"logprobs": answered(9.0)}, wrong="generates.cache", ending=BROKEN)
    for solo in (False, True):
        world.run("B", FIRST, events=raw, version="5.0.0", solo=solo)
    world.release()
    for solo in (False, True, False):
        reference(world, SECOND, 0.0, "5.1.0", solo=solo)
    assert world.story() == "BW"


def test_a_code_base_that_differs_by_a_fault_of_its_own_is_no_witness(world: World) -> None:
    """Bamba: llama.cpp rotates whole heads for want of a key, and so did some releases of transformers."""
    two_sides(world)
    cause = ParityCause("llama.cpp", "newarch", "it rotates whole heads")
    world.store.record_parity_causes([cause])
    beside(world, Runtime.XLLAMACPP, 0.0)
    assert world.story() == "???"
    world.store.record_parity_causes([replace(cause, of_reference=True)])
    verdicts.rejudge(world.store)
    assert world.story() == "WWB"


def test_a_newer_release_that_loses_the_right_answer_is_a_regression(world: World) -> None:
    two_sides(world)
    beside(world, Runtime.XLLAMACPP, 0.0)
    assert world.story() == "WWB"
    assert world.flips() == [(THIRD.isoformat(), "works", "broken")]


def test_rejudging_finds_the_answers_of_the_past_in_their_events(world: World) -> None:
    two_sides(world)
    beside(world, Runtime.XLLAMACPP, 4.0)
    for table in ("run_traces", "traces", "trace_values"):
        world.store._db.execute(f"DROP TRIGGER {table}_never_delete")
        world.store._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the constant
    verdicts.rejudge(world.store)
    assert world.story() == "BBW"


def test_the_answers_of_another_history_decide_too(world: World, tmp_path: Path) -> None:
    """Releases of the reference are replayed in one history, and the other runtimes measured in another."""
    two_sides(world)
    with open_store(tmp_path / "other") as store:
        other = World(store)
        beside(other, Runtime.XLLAMACPP, 4.0)
    assert world.story() == "???"
    world.store.take_answers(tmp_path / "other")
    verdicts.rejudge(world.store)
    assert world.story() == "BBW"
    world.store.take_answers(tmp_path / "other")  # twice changes nothing
    assert verdicts.rejudge(world.store).changed_days == 0


def test_a_dispute_about_a_past_release_by_hand_touches_today(world: World) -> None:
    reference(world, THIRD, 4.0, "5.22.0")
    assert world.story() == "..W"
    reference(world, THIRD, 0.0, "5.0.0", origin=Origin.ADHOC)
    assert world.store.current(cell=world.cell.id)[0]["verdict"] == "unknown"
    (row,) = [row for row in world.store.by_release(cell=world.cell.id) if row["by_hand"]]
    assert (row["verdict"], row["rung"], row["blame"]) == ("unknown", "matches", "reference")


def test_one_answer_is_kept_once_and_another_package_pinned_by_hand_is_no_side(world: World) -> None:
    for lower, version in ((0.0, "5.0.0"), (0.00001, "5.1.0"), (4.0, "5.2.0 with torch==2.1")):
        reference(world, FIRST, lower, version, origin=Origin.ADHOC)
    answers = world.store.cells.traces.answers(Files("files", str(world.cell.platform)))
    assert [sorted(release.version for release in each) for each in answers.releases.values()] == [["5.0.0", "5.1.0"]]
    assert all(row["verdict"] == "works" for row in world.store.by_release(cell=world.cell.id))


def test_another_runtime_is_right_against_a_pinned_reference_that_is_wrong(world: World) -> None:
    two_sides(world)
    cell = beside(world, Runtime.XLLAMACPP, 4.0, wrong="matches.logprobs")
    assert matches(world, cell) == ("passed", None)
    other = beside(world, Runtime.VLLM, 0.0, independent=False)  # it runs the reference's own code
    assert matches(world, other) == ("failed", "runtime")


def test_a_reference_is_pinned_by_two_sessions_of_a_day_that_works(world: World) -> None:
    """One pass that nothing confirmed was pinned for ever, even where its day was to be broken."""
    facts = {"trace": TRACE}
    reference(world, FIRST, 0.0, "5.4.0", facts=facts)
    assert verdicts.golden_of(world.store.cells, "files", with_trace=True) is None
    again = world.decide(FIRST)
    assert isinstance(again, RetryNeeded)
    assert (again.why, again.solo) == (RetryReason.REFERENCE, False)
    reference(world, FIRST, 0.0, "5.4.0", facts=facts)
    assert isinstance(world.decide(FIRST), Settled)
    pinned = verdicts.golden_of(world.store.cells, "files", with_trace=True)
    assert pinned is not None
    assert (pinned["version"], pinned["prompts"][0]["ids"]) == ("5.4.0", [1, 2])


def test_two_sessions_that_answer_differently_pin_nothing(world: World) -> None:
    other = {**TRACE, "prompts": [{"ids": [1, 2], "from": 0, "top": [[[5, 6], [-3.0, -4.0]]] * 2}]}
    reference(world, FIRST, 0.0, "5.4.0", facts={"trace": TRACE})
    reference(world, FIRST, 0.0, "5.4.0", facts={"trace": other})
    assert isinstance(world.decide(FIRST), Settled)
    assert verdicts.golden_of(world.store.cells, "files", with_trace=True) is None


def test_a_day_that_settles_as_broken_pins_nothing(world: World) -> None:
    world.settle("B", FIRST)
    world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"trace": TRACE}))
    world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"trace": TRACE}))
    assert world.store.cells.detail(world.cell.id).days[-1].verdict.verdict is not CellVerdict.WORKS
    assert verdicts.golden_of(world.store.cells, "files", with_trace=True) is None


def test_a_pinned_reference_that_turns_out_wrong_is_followed_by_another(world: World) -> None:
    for _ in range(2):
        reference(world, FIRST, 0.0, "5.0.0", facts={"trace": TRACE})
    assert verdicts.golden_of(world.store.cells, "files", with_trace=False) is not None
    world.release()
    reference(world, THIRD, 4.0, "5.22.0")
    beside(world, Runtime.XLLAMACPP, 4.0)
    assert verdicts.golden_of(world.store.cells, "files", with_trace=False) is None
    for _ in range(2):
        reference(world, THIRD, 4.0, "5.22.0", facts={"trace": {**TRACE, "spread": 2.0}})
    pinned = verdicts.golden_of(world.store.cells, "files", with_trace=True)
    assert pinned is not None
    assert (pinned["version"], pinned["spread"]) == ("5.22.0", 2.0)


@pytest.mark.parametrize("value", [None, 3, [1.5, 2], {"prompts": "no"}, {"prompts": [], "spread": 1}])
def test_what_is_no_answer_is_not_kept(world: World, value: Any) -> None:
    world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"logprobs": value}))
    assert world.store.query("SELECT count(*) FROM trace_values").rows == ((0,),)
