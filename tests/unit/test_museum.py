"""The museum's file is whole, and its score says what a run gave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.subjects.catalogue import load_catalogue
from tests.museum.faults import Fault, Score, Sighting, flaws, load_faults

FAULTS = load_faults()
ENOUGH = 25
PHI = next(fault for fault in FAULTS if fault.id == "phi-head-bias")
GOOD = Sighting("works")
BAD = Sighting("broken", "loads", "runtime", {"loads.tensors": "unexpected-tensors"})


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_entry_is_whole(fault: Fault) -> None:
    assert list(flaws(fault)) == []


def test_ids_are_unique_and_enough_can_be_shown() -> None:
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)
    assert sum(fault.shows for fault in FAULTS) >= ENOUGH


def test_models_are_of_the_catalogue() -> None:
    ids = {name for entry in load_catalogue() for name in entry.subject_ids}
    assert {fault.model for fault in FAULTS if fault.model} <= ids


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thread": "huggingface/transformers#1"}, "no address"),
        ({"first_bad": "soon"}, "Invalid version"),
        ({"first_good": "4.47.0"}, "out of order"),
        ({"check": "loads.everything"}, "unknown here"),
        ({"shows": False}, "a reason"),
        ({"proof": "thread"}, "was not read"),
        ({"model": "microsoft/phi-4"}, "of the catalogue or"),
    ],
)
def test_a_flaw_is_named(change: dict[str, object], said: str) -> None:
    assert said in "; ".join(flaws(replace(PHI, **change)))  # type: ignore[arg-type]


def test_a_fault_seen_in_its_releases_is_right() -> None:
    score = Score(PHI, {"4.47.1": GOOD, "4.48.0": BAD, "4.48.1": GOOD})
    assert score.caught
    assert score.right_releases
    assert score.right_rung
    assert score.right_blame
    assert score.false_reds == []


def test_what_is_wrong_with_a_run_shows() -> None:
    late = replace(BAD, rung="generates", blame="unattributed")
    other = Sighting("broken", "generates", "runtime", {"generates.cache": "cache-differs"})
    score = Score(PHI, {"4.47.1": other, "4.48.0": late, "4.48.1": BAD})
    assert score.caught
    assert not score.right_releases
    assert not score.right_rung
    assert not score.right_blame
    assert score.false_reds == ["4.47.1: generates.cache", "4.48.1: loads.tensors"]
    excused = replace(PHI, also_red={"4.47.1": ["generates.cache"]})
    assert Score(excused, score.sightings).false_reds == ["4.48.1: loads.tensors"]
