"""Each check of training finds its own defect, and only it, in a trainable model of plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from probes.catalogue import sequence
from probes.events import Events
from probes.subject import Subject, run_checks
from tests.specimens import checkpoints
from tests.specimens.trainees import TrainingRuntime
from tests.unit.test_probes_checks import CONFIG, GOLDEN, events_of, faults

if TYPE_CHECKING:
    from pathlib import Path


def outcomes(tmp_path: Path, defect: str = "") -> dict[str, Any]:
    runtime: Any = TrainingRuntime(defect)
    folder = checkpoints.bare(tmp_path / "good", **CONFIG)
    path = tmp_path / "events.jsonl"
    run_checks(Subject(runtime, "peft", {"path": str(folder), "golden": GOLDEN}, seed=0), "m", Events(str(path)))
    return events_of(path)


def test_what_trains_passes_everything(tmp_path: Path) -> None:
    finished = outcomes(tmp_path)
    skipped = {name for name, event in finished.items() if event["outcome"] == "skipped"}
    # the model is published as it is probed, takes neither images nor sounds, and has no heads for several tokens
    assert skipped == {"loads.published", "generates.ahead", "generates.images", "generates.sounds"}
    assert {event["outcome"] for event in finished.values()} == {"passed", "skipped"}, faults(finished)
    assert list(finished) == [check.name for check in sequence("peft")]
    told = finished["trains.lora"]["message"]
    assert "1 layers with 50% of the weights carry it and it adds 5.0%, and 0% of the routed experts" in told
    assert told.endswith("; refused on purpose: out_proj")


DEFECTS = {
    "infinite": {"trains.gradients": "gradient-not-finite"},
    "detached": {"trains.gradients": "no-gradient"},
    "all silent": {"trains.gradients": "no-gradient"},
    "checkpointing": {"trains.checkpointing": "checkpointing-differs"},
    "checkpointed loss": {"trains.checkpointing": "checkpointing-differs"},
    "ignored": {"trains.checkpointing": "checkpointing-ignored"},
    "deaf": {"trains.overfits": "does-not-learn", "trains.lora": "adapter-does-not-learn"},
    "diverges": {"trains.overfits": "gradient-not-finite", "trains.lora": "gradient-not-finite"},
    "slow": {"trains.overfits": "infra-time", "trains.lora": "infra-time"},
    "adapter deaf": {"trains.lora": "adapter-does-not-learn"},
    "no targets": {"trains.lora": "adapter-targets"},
    "moves nothing": {"trains.reload": "adapter-lost"},
    "reload of adapter": {"trains.reload": "adapter-lost"},
    "merge": {"trains.reload": "adapter-lost"},
    "merged save": {"trains.reload": "adapter-lost"},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_by_its_own_check(tmp_path: Path, defect: str) -> None:
    assert faults(outcomes(tmp_path, defect)) == DEFECTS[defect]


def test_what_no_token_reaches_needs_no_gradient_and_is_named(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, "unrouted")
    assert not faults(finished)
    assert finished["trains.gradients"]["evidence"]["silent"] == ["layers.1.experts.weight"]


def test_a_class_without_checkpointing_is_skipped_with_a_reason(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, "no checkpointing")
    assert (finished["trains.checkpointing"]["outcome"], faults(finished)) == ("skipped", {})
    assert finished["trains.checkpointing"]["message"] == "there is no checkpointing"


def test_an_adapter_is_not_lost_where_saving_changes_any_model(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, "reload")
    assert faults(finished) == {"loads.reload": "reload-differs"}
    assert finished["trains.reload"]["outcome"] == "skipped"


def test_nothing_is_trained_that_was_not_really_loaded(tmp_path: Path) -> None:
    """Two models with values of their own in one tensor differ, whatever an adapter does."""
    finished = outcomes(tmp_path, "invented")
    assert faults(finished) == {"loads.tensors": "reinitialised-tensors"}
    assert not [check for check in finished if check.startswith("trains.")]
