"""The reference through the database: pinned once, doubted by two families; and what is asked by hand, by release."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor import verdicts
from monitor.domain import Cell, Origin, Runtime
from monitor.judge.parity import ParityCause
from monitor.store import Store, open_store
from monitor.subjects.catalogue import load_catalogue, load_parity_causes
from tests.standins.days import FIRST, World
from tests.standins.traces import APART, DIFFERS, TRACE, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.verdicts import RunDetail


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        yield World(store)


def matches(store: Store, cell: Cell) -> tuple[str, str | None]:
    """Return verdict and blame of rung 5 on the cell's latest day."""
    day = store.cells.detail(cell.id).days[-1]
    (rung,) = [one for one in day.verdict.rungs if str(one.rung) == "matches"]
    return str(rung.verdict), str(rung.blame) if rung.blame else None


def beside(world: World, runtime: Runtime, heard: list[float]) -> RunDetail:
    """Record a runtime that differs from the reference and says ``heard``."""
    cells = [replace(cell, runtime=runtime) for cell in (world.control, world.cell)]
    facts = {"heard": [[heard]]}
    for cell, wrong in zip(cells, ("", "matches.logprobs"), strict=True):
        detail = world.run("W", FIRST, cell, events=told(cell.subject_id, runtime, facts if wrong else {}, wrong=wrong))
    return detail


def test_the_first_trace_of_a_day_that_works_is_pinned_and_stays(world: World) -> None:
    digest = world.fingerprint.subject
    replayed = told("acme/new", Runtime.TRANSFORMERS, {"trace": TRACE})
    world.run("W", FIRST, events=replayed, origin=Origin.REPLAY)
    world.run("W", FIRST, events=replayed, origin=Origin.ADHOC)
    assert world.store.cells.golden(digest, with_trace=True) is None  # no release of the past, none asked for by hand
    world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"trace": {"prompts": "no"}}))
    assert world.store.cells.golden(digest, with_trace=True) is None
    world.run("W", FIRST, events=replayed)
    world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"trace": {**TRACE, "spread": 9.0}}))
    pinned = world.store.cells.golden(digest, with_trace=True)
    assert pinned is not None
    assert (pinned["version"], pinned["day"], pinned["spread"]) == ("5.4.0", FIRST.isoformat(), 1.0)
    assert world.store.cells.golden(digest, with_trace=False) == {
        key: pinned[key] for key in ("runtime", "version", "day")
    }


def test_one_family_that_differs_is_to_blame_and_two_that_agree_are_not(world: World) -> None:
    xllamacpp, vllm = (replace(world.cell, runtime=one) for one in (Runtime.XLLAMACPP, Runtime.VLLM))
    beside(world, Runtime.XLLAMACPP, [-1.5, -2.5])
    assert matches(world.store, xllamacpp) == ("failed", "runtime")
    beside(world, Runtime.LLAMA_CPP_PYTHON, [-1.5, -2.5])  # of the same family: the same code says the same
    assert matches(world.store, xllamacpp) == ("failed", "runtime")
    detail = beside(world, Runtime.VLLM, [-1.5001, -2.5])
    assert matches(world.store, xllamacpp) == matches(world.store, vllm) == ("unknown", "reference")
    assert "llama.cpp and vllm agree" in next(one.reason for one in detail.verdict.rungs if str(one.rung) == "matches")
    assert verdicts.rejudge(world.store).changed_days == 0
    assert matches(world.store, vllm) == ("unknown", "reference")


def test_two_families_that_differ_otherwise_are_each_to_blame(world: World) -> None:
    beside(world, Runtime.XLLAMACPP, [-1.5, -2.5])
    beside(world, Runtime.VLLM, [-3.5, -0.5])
    for runtime in (Runtime.XLLAMACPP, Runtime.VLLM):
        assert matches(world.store, replace(world.cell, runtime=runtime)) == ("failed", "runtime")


def test_how_far_each_release_is_from_the_reference_can_be_asked_with_the_cause(world: World) -> None:
    pinned = told("acme/new", Runtime.TRANSFORMERS, {"trace": TRACE})
    for _ in range(2):
        world.run("W", FIRST, events=pinned)
    known = ParityCause("llama.cpp", "newarch", "no window")
    world.store.record_parity_causes([known, replace(known, architecture="other", explanation="else")])
    world.store.record_parity_causes([known])  # in place of what was known before
    within = {"outcome": "passed", "evidence": {**APART, "maximum": 1e-5}}
    for version, ending in (("1.0", DIFFERS), ("2.0", DIFFERS), ("2.0", within)):
        events = told("acme/new", Runtime.XLLAMACPP, {}, wrong="matches.logprobs", ending=ending)
        cell = replace(world.cell, runtime=Runtime.XLLAMACPP)
        detail = world.run("W", FIRST, cell, events=events, version=version, origin=Origin.ADHOC)
        assert detail.cause == ("no window" if ending is DIFFERS else "")
    beside(world, Runtime.VLLM, [-1.5, -2.5])

    told_of = world.store.query(
        "SELECT runtime, version, reference_version, max, p99, allowed, verdict, cause FROM parity ORDER BY max DESC"
    )
    assert told_of.rows == (
        ("vllm", "5.4.0", "5.4.0", 0.5, 0.25, 1e-3, "failed", None),
        ("xllamacpp", "1.0", "5.4.0", 0.5, 0.25, 1e-3, "failed", "no window"),
        ("xllamacpp", "2.0", "5.4.0", 1e-5, 0.25, 1e-3, "passed", None),  # its latest run
    )


def test_every_known_cause_is_of_an_architecture_and_a_runtime_that_are_probed() -> None:
    known = load_parity_causes()
    probed = {subject.architecture for subject in load_catalogue().subjects()}
    assert {cause.architecture for cause in known} <= probed
    assert all(cause.runtimes and cause.explanation for cause in known)
    assert len({(cause.family, cause.architecture) for cause in known}) == len(known)


def test_what_is_asked_by_hand_is_kept_by_release_and_is_no_day(world: World) -> None:
    def kept() -> list[tuple[str, str, int]]:
        found = world.store.by_release(cell=world.cell.id)
        return [(row["version"], row["verdict"], row["by_hand"]) for row in found]

    for letter, version in (("B", "4.9.0"), ("W", "5.0.0")):
        for solo in (False, True):
            world.run(letter, FIRST, origin=Origin.ADHOC, version=version, solo=solo)
    assert world.store.cells.detail(world.cell.id).days == ()
    assert kept() == [("4.9.0", "broken", 1), ("5.0.0", "works", 1)]
    world.run("W", FIRST + timedelta(days=1))
    assert kept() == [("4.9.0", "broken", 1), ("5.0.0", "works", 1), ("5.4.0", "works", 0)]
    verdicts.rejudge(world.store)
    assert kept() == [("4.9.0", "broken", 1), ("5.0.0", "works", 1), ("5.4.0", "works", 0)]
