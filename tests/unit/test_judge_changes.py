"""Changed is not broken: log-probabilities beside those of the first day that worked, told in a note."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor import verdicts
from monitor.domain import CellVerdict, Origin, Runtime
from monitor.judge.changes import TOLERANCE_NAT, distance, logprobs_of
from monitor.judge.confirm import RetryNeeded
from monitor.store import open_store
from probes.checks.generates import forward
from probes.subject import Subject
from tests.specimens.runtimes import PlainRuntime
from tests.standins.days import FIRST, World, events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.store import Store

TOP: list[list[Any]] = [[7, 8, 9, 10, 11], [-1.0, -1.5, -2.0, -2.5, -3.0]]


def fact(*positions: Any, ids: tuple[int, ...] = (1, 2, 3), start: int = 0) -> dict[str, Any]:
    return {"prompts": [{"ids": list(ids), "from": start, "top": list(positions)}]}


def shifted(by: float) -> dict[str, Any]:
    return fact([TOP[0], [value - by for value in TOP[1]]])


def apart(one: Any, other: Any) -> float | None:
    left, right = logprobs_of(one), logprobs_of(other)
    assert left is not None
    assert right is not None
    assert distance(left, right) == distance(right, left)
    return distance(left, right)


def test_how_far_two_answers_lie_apart() -> None:
    assert apart(shifted(0), shifted(0)) == 0
    assert apart(shifted(0), shifted(0.25)) == 0.25
    assert apart(fact(TOP, TOP), fact(TOP, [TOP[0], [-1.75, *TOP[1][1:]]])) == 0.75  # the worst position


def test_a_token_that_only_one_names_is_at_most_as_likely_as_the_last_of_the_other() -> None:
    tie = [[7, 8, 9, 10, 12], TOP[1]]  # which fell the other way: no difference at all
    assert apart(fact(TOP), fact(tie)) == 0
    assert apart(fact(TOP), fact([[20, 21, 22, 23, 24], TOP[1]])) == 2.0


def test_what_a_probe_records_is_what_is_read(tmp_path: Path) -> None:
    runtime: Any = PlainRuntime()
    subject = Subject(runtime, "transformers", {"path": str(tmp_path)}, seed=0)
    subject.config_json = {"vocab_size": 64}
    subject.model = subject.runtime.model(tmp_path, None, subject.config_json, "eager")
    assert forward(subject).outcome == "passed"
    recorded = json.loads(json.dumps(subject.facts["logprobs"]))
    assert apart(recorded, recorded) == 0


@pytest.mark.parametrize(
    "other",
    [fact(TOP, ids=(1, 2, 4)), fact(TOP, TOP), fact(TOP, start=1)],
    ids=["other ids", "another length", "another start"],
)
def test_only_answers_to_the_same_prompt_are_compared(other: Any) -> None:
    assert apart(fact(TOP), other) is None


@pytest.mark.parametrize(
    "value",
    [None, [1.5, 2], "x", {}, {"prompts": []}, {"prompts": [1]}, {"prompts": {"ids": 1}}, fact(TOP, 3), fact([[7]]),
     fact([["a"], [-1.0]]), fact([[7], ["nan"]]), fact([[7], [None]]), fact([[7, 8], [-1.0]]), fact([[1e999], [-1.0]])],
)  # fmt: skip
def test_what_is_no_such_fact_is_none(value: Any) -> None:
    assert logprobs_of(value) is None


class Answering(World):
    """A world whose every run answers with log-probabilities lower by a number, in a runtime beside the reference."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.cell, self.control = (replace(cell, runtime=Runtime.VLLM) for cell in (self.cell, self.control))

    def answer(self, day: date, lower: float, **changes: Any) -> str:
        letter = changes.pop("letter", "W")
        raw = events(self.cell.subject_id, letter, self.cell.runtime)
        *lines, last = [json.loads(line) for line in raw.splitlines()]
        value = shifted(lower)
        said = b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, last | {"value": value}])
        return self.run(letter, day, events=said, **changes).id

    def notes(self) -> list[str]:
        return [day.note for day in self.store.cells.detail(self.cell.id).days]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Answering]:
    with open_store(tmp_path) as store:
        yield Answering(store)


NOTE = "log-probabilities differ by 0.25 from 5.4.0 (2026-04-01): changed, not broken"


def test_a_changed_value_is_noted_and_never_a_verdict(world: Answering) -> None:
    for offset, lower in enumerate((0.0, TOLERANCE_NAT * 0.9, 0.25, 0.0)):
        world.answer(FIRST + timedelta(days=offset), lower)
    assert world.notes() == ["", "", NOTE, ""]
    assert world.story() == "WWWW"
    assert world.flips() == []
    assert [row["note"] for row in world.store.history(cell=world.cell.id)] == ["", "", NOTE, ""]


def test_the_note_of_the_latest_day_is_told_of_how_things_are(world: Answering) -> None:
    world.answer(FIRST, 0.0)
    world.answer(FIRST + timedelta(days=1), 0.25)
    assert [row["note"] for row in world.store.current(cell=world.cell.id)] == [NOTE]


def test_a_carried_day_keeps_the_note_and_rejudging_changes_nothing(world: Answering) -> None:
    world.answer(FIRST, 0.0)
    world.release()
    world.answer(FIRST + timedelta(days=1), 0.25)
    world.live("..=")
    assert world.notes() == ["", NOTE, NOTE]
    assert verdicts.rejudge(world.store).changed_days == 0
    assert world.notes() == ["", NOTE, NOTE]


def test_rejudging_without_events_keeps_the_note(world: Answering) -> None:
    """The answers that it compares are in the events, which a shipped history does not have."""
    world.answer(FIRST, 0.0)
    world.answer(FIRST + timedelta(days=1), 0.25)
    shutil.rmtree(world.store.events.root)
    assert verdicts.rejudge(world.store).changed_days == 0
    assert world.notes() == ["", NOTE]


def test_a_day_that_does_not_work_pins_nothing(world: Answering) -> None:
    while isinstance(again := world.decide(FIRST), RetryNeeded):
        world.answer(FIRST, 9.0, letter="B", solo=again.solo)
    world.release()
    second = FIRST + timedelta(days=1)
    while isinstance(again := world.decide(second), RetryNeeded):
        world.answer(second, 0.0, solo=again.solo)
    assert world.story() == "BW"
    assert world.notes() == ["", ""]


def test_a_replay_that_works_earlier_becomes_what_later_days_are_held_against(world: Answering) -> None:
    world.answer(FIRST + timedelta(days=1), 0.25)
    assert world.notes() == [""]
    world.answer(FIRST, 0.0, origin=Origin.REPLAY)
    assert world.notes() == ["", NOTE]


def test_other_files_have_a_baseline_of_their_own(world: Answering) -> None:
    world.answer(FIRST, 0.0)
    other = replace(world.fingerprint, subject="other-files")
    world.answer(FIRST + timedelta(days=1), 0.25, fingerprint=other)
    world.answer(FIRST + timedelta(days=2), 0.5, fingerprint=other)
    assert world.notes()[:2] == ["", ""]
    assert world.notes()[2] == NOTE.replace("2026-04-01", "2026-04-02")


def test_a_run_by_hand_is_held_against_the_history_and_stays_out_of_it(world: Answering) -> None:
    world.answer(FIRST, 0.0)
    run = world.answer(FIRST + timedelta(days=1), 0.25, origin=Origin.ADHOC)
    detail = verdicts.run_detail(world.store, run)
    assert (detail.verdict.verdict, detail.note) == (CellVerdict.WORKS, NOTE)
    assert world.notes() == [""]


def test_a_check_that_is_skipped_and_passed_before_is_noted_until_it_passes_again(world: Answering) -> None:
    days = [FIRST + timedelta(days=offset) for offset in range(4)]
    world.run("W", days[0])
    world.run("S", days[1])
    world.run("S", days[2])
    world.run("W", days[3])
    note = "skipped, and passed last with 5.4.0 (2026-04-01): generates.cache"
    assert world.notes() == ["", note, note, ""]
    assert world.story() == "WWWW"
    assert world.flips() == []
    assert verdicts.rejudge(world.store).changed_days == 0


def test_a_check_that_never_passed_is_skipped_without_a_word(world: Answering) -> None:
    world.run("S", FIRST)
    assert world.notes() == [""]
    assert verdicts.run_detail(world.store, world.run("S", FIRST + timedelta(days=1)).id).note == ""


def test_what_passed_on_a_broken_day_has_passed(world: Answering) -> None:
    world.cell, world.control = world.cell_of("acme/new"), world.cell_of("acme/old")
    world.run("W", FIRST, world.control)
    while isinstance(again := world.decide(FIRST), RetryNeeded):
        world.run("B", FIRST, solo=again.solo)
    second = FIRST + timedelta(days=1)
    world.release()
    while isinstance(again := world.decide(second), RetryNeeded):
        world.run("L", second, solo=again.solo)  # a check that passed on the broken day
    assert world.story() == "BW"
    assert world.notes() == ["", "skipped, and passed last with 5.4.0 (2026-04-01): knows.config"]


def test_a_run_by_hand_says_what_it_was_not_asked(world: Answering) -> None:
    world.run("W", FIRST)
    run = world.run("S", FIRST, origin=Origin.ADHOC)
    assert (
        verdicts.run_detail(world.store, run.id).note
        == "skipped, and passed last with 5.4.0 (2026-04-01): generates.cache"
    )


def test_another_suite_says_that_it_is_another(world: Answering) -> None:
    world.answer(FIRST, 0.0)
    newer = replace(world.fingerprint, suite="suite-2")
    world.answer(FIRST + timedelta(days=1), 0.25, fingerprint=newer)
    assert "(2026-04-01), and the probes have changed since: changed, not broken" in world.notes()[1]
