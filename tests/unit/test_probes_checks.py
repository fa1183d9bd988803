"""Each check finds its own defect, and only it: one good runtime, and the same with one thing broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.wire.events import parse_event
from probes.catalogue import sequence
from probes.events import Events
from probes.subject import Subject, run_checks
from tests.specimens import checkpoints
from tests.specimens.runtimes import PlainRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOLDEN = {
    "texts": ["a  b", " é\n"],
    "template": {"messages": [{"role": "user", "content": "hi"}], "rendered": "user: hi\nassistant:"},
    "parts": {"language": 1000, "vision": 500},
    "specials": {"bos": 1, "eos": [2], "pad": None},
}
CONFIG = {"eos_token_id": 2, "sliding_window": 16, "rope_theta": 7e5}


def outcomes(tmp_path: Path, folder: Path, defect: str = "", golden: Any = GOLDEN) -> dict[str, Any]:
    runtime: Any = PlainRuntime(defect)
    subject = Subject(runtime, "transformers", {"path": str(folder), "golden": golden}, seed=0)
    path = tmp_path / "events.jsonl"
    run_checks(subject, "m", Events(str(path)))
    return events_of(path)


def events_of(path: Path) -> dict[str, Any]:
    events = [json.loads(line) for line in path.read_bytes().splitlines() if parse_event(line)]
    started = [event["check"] for event in events if event["event"] == "started"]
    finished = {event["check"]: event for event in events if event["event"] == "finished"}
    assert started == list(finished)
    return finished


# about the model's files, and about what a plain text model does not have
NOT_ABOUT_THE_RUNTIME = {
    *("loads.published", "generates.ahead", "generates.images", "generates.image_cache", "generates.sounds"),
    *("generates.vectors", "generates.sight", "generates.scores"),
    *("speaks.templates", "speaks.ends"),
}


def faults(finished: dict[str, Any]) -> dict[str, str]:
    return {check: event["fault"] for check, event in finished.items() if event["outcome"] == "failed"}


def test_a_good_runtime_passes_everything(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG))
    others = {check for check, event in finished.items() if event["outcome"] != "passed"}
    # the reference itself: there is nothing to match
    assert others == {"matches.trace"} | NOT_ABOUT_THE_RUNTIME, faults(finished)
    assert list(finished) == [check.name for check in sequence("transformers")]
    assert finished["generates.cache"]["evidence"]["seam"] == 16
    # what this machine cannot do is written down beside what it can
    assert finished["generates.caches"]["evidence"]["refused"] == {
        "offloaded cache": "ValueError: no offloaded cache in cache.py"
    }


DEFECTS = {
    "theta": {"knows.config": "wrong-config"},
    "no class": {"loads.model": "unknown-architecture"},
    "load": {"loads.model": "load-error"},
    "missing": {"loads.tensors": "missing-tensors"},
    "mismatched": {"loads.tensors": "missing-tensors"},
    "unexpected": {"loads.tensors": "unexpected-tensors"},
    "lost": {"loads.tensors": "reinitialised-tensors"},
    "invented": {"loads.tensors": "reinitialised-tensors"},
    "part": {"loads.parts": "missing-part"},
    "reload": {"loads.reload": "reload-differs"},
    "reload config": {"loads.reload": "reload-differs"},
    "nan": {"generates.forward": "not-finite", "loads.reload": "not-finite"},
    "flat": {"generates.forward": "flat-logits"},
    "deaf": {"generates.forward": "flat-logits"},
    "restless": {"generates.greedy": "not-deterministic"},
    "imprecise": {"generates.cache": "cache-differs"},
    "cache": {"generates.cache": "cache-differs"},
    "batch": {"generates.batch": "batch-differs"},
    "attention": {"generates.attention": "attention-differs"},
    "pieces": {"generates.continues": "cache-differs"},
    "padding after": {"generates.padding": "batch-differs"},
    "padding before": {"generates.padding": "batch-differs"},
    "static cache": {"generates.caches": "cache-differs"},
    "proposals": {"generates.assisted": "cache-differs"},
    "half": {"generates.halved": "not-finite"},
    "stop": {"generates.stop": "does-not-stop"},
    "tokenizer": {"speaks.tokenizer": "tokenizer-error"},
    "eos": {"speaks.tokenizer": "wrong-special-token"},
    "spaces": {"speaks.roundtrip": "roundtrip-differs"},
    "template": {"speaks.template": "template-differs"},
    "no template": {"speaks.template": "template-differs"},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found_where_it_is(tmp_path: Path, defect: str) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), defect)
    assert faults(finished).items() >= DEFECTS[defect].items()
    # a runtime that answers differently each time also differs between the ways of asking
    if defect != "restless":
        assert faults(finished) == DEFECTS[defect]


def test_a_difference_within_what_the_model_makes_of_the_last_bit_is_none(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "trembling")
    assert not faults(finished)
    assert finished["generates.cache"]["evidence"]["allowed"] > 2e-3


def test_there_is_a_ceiling_to_what_is_made_of_the_last_bit(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "shaking")
    assert finished["generates.cache"]["outcome"] == "skipped"
    assert "too sensitive" in finished["generates.cache"]["message"]
    assert finished["generates.cache"]["evidence"]["allowed"] > 0.05
    assert not faults(finished)


def test_numbers_of_a_coarser_type_are_evidence_against_no_runtime(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "coarse")
    assert finished["generates.forward"]["message"] == "in bfloat16 alone"
    assert finished["generates.cache"]["outcome"] == "skipped"
    assert finished["generates.cache"]["message"] == "in bfloat16 alone, too coarse to compare"
    assert not faults(finished)


@pytest.mark.parametrize("check", ["cache", "batch", "attention"])
def test_what_was_allowed_is_always_told(tmp_path: Path, check: str) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG))
    assert 0 < finished[f"generates.{check}"]["evidence"]["allowed"] < 1e-3


def test_what_a_runtime_keeps_for_itself_may_change_when_a_model_is_saved(tmp_path: Path) -> None:
    # published files of Llama 4 hold such a key, and it made every release red
    config = {**CONFIG, "_attn_implementation_autoset": False}
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **config), "bookkeeping")
    assert finished["loads.reload"]["outcome"] == "passed"


FORM = {"config": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 2]}}}


@pytest.mark.parametrize(
    ("defect", "outcome", "fault"),
    [
        ("", "passed", None),
        ("refuses the form", "skipped", None),
        ("breaks on the form", "failed", "load-error"),
        ("misreads the form", "failed", "published-differs"),
    ],
)
def test_weights_in_their_published_form_mean_what_they_should(
    tmp_path: Path, defect: str, outcome: str, fault: str | None
) -> None:
    folder = checkpoints.bare(tmp_path / "good", **CONFIG)
    finished = outcomes(tmp_path, folder, defect, {**GOLDEN, "form": FORM})
    answer = finished["loads.published"]
    assert (answer["outcome"], answer["fault"]) == (outcome, fault), answer
    if outcome == "skipped":
        message = "published weights are fp8: this quantization is not supported: not measured"
        assert answer["message"] == message


def test_a_form_that_no_probe_writes_is_not_measured(tmp_path: Path) -> None:
    folder = checkpoints.bare(tmp_path / "good", **CONFIG)
    form = {"config": {"quantization_config": {"quant_method": "quip"}}}
    answer = outcomes(tmp_path, folder, golden={**GOLDEN, "form": form})["loads.published"]
    assert (answer["outcome"], answer["message"]) == (
        "skipped",
        "published weights are quip: quip is not written here: not measured",
    )


IGNORED = {
    "never cached": "generates.cache",
    "always cached": "generates.cache",
    "deaf to attention": "generates.attention",
    "silent": "generates.attention",
    "reads nothing": "knows.config",
    "no kinds": "generates.caches",
    "no half": "generates.halved",
}


@pytest.mark.parametrize("defect", IGNORED)
def test_a_comparison_with_itself_says_nothing(tmp_path: Path, defect: str) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), defect)
    event = finished[IGNORED[defect]]
    assert event["outcome"] == "skipped", event
    assert event["message"]


def test_values_of_a_quantized_checkpoint_are_not_compared(tmp_path: Path) -> None:
    folder = checkpoints.bare(tmp_path / "good", **CONFIG, quantization_config={"quant_method": "fp8"})
    finished = outcomes(tmp_path, folder, "lost")
    assert not faults(finished)
    assert "quantized" in finished["loads.tensors"]["evidence"]["values"]


@pytest.mark.parametrize(("golden", "fault"), [(GOLDEN, "missing-tensors"), ({}, "bad-checkpoint")])
def test_a_tensor_in_no_file_is_the_files_fault_unless_they_are_known(tmp_path: Path, golden: Any, fault: str) -> None:
    folder = checkpoints.bare(tmp_path / "good", **CONFIG)
    assert faults(outcomes(tmp_path, folder, "missing", golden))["loads.tensors"] == fault


@pytest.mark.parametrize("defect", ["no sdpa", "eager only"])
def test_a_missing_implementation_is_skipped_with_a_reason(tmp_path: Path, defect: str) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), defect)
    assert finished["generates.attention"]["outcome"] == "skipped"
    assert finished["generates.attention"]["message"]
    assert not faults(finished)


def test_without_golden_values_nothing_is_made_up(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), golden=None)
    skipped = {check for check, event in finished.items() if event["outcome"] == "skipped"}
    assert skipped == {"loads.parts", "speaks.template", "matches.trace"} | NOT_ABOUT_THE_RUNTIME


def test_a_model_that_does_not_load_still_has_a_tokenizer(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "load")
    asked = [check for check in finished if check.startswith(("loads", "generates"))]
    assert asked == ["loads.model"]
    assert finished["speaks.template"]["outcome"] == "passed"


def test_a_panic_of_the_runtime_is_its_failure(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "panic")
    assert faults(finished) == {"loads.model": "load-error"}


def test_what_stands_on_a_check_that_does_not_apply_is_left_out_with_that_reason(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "no numbers")
    assert list(finished) == [check.name for check in sequence("transformers")]  # so that nothing reads as not reached
    assert faults(finished) == {}
    assert finished["generates.forward"]["message"] == "this release tells no log-probabilities"
    assert finished["generates.greedy"]["message"] == "generates.forward does not apply"
    assert finished["speaks.template"]["outcome"] == "passed"


def test_saving_what_does_not_fit_is_skipped(tmp_path: Path) -> None:
    finished = outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG), "huge")  # 4 EiB
    assert finished["loads.reload"]["outcome"] == "skipped"
    assert "free" in finished["loads.reload"]["message"]


FILES: dict[str, tuple[Callable[[Path, Path], Path], dict[str, str]]] = {
    "truncated": (checkpoints.truncated_weights, {"loads.model": "bad-checkpoint"}),
    "config": (checkpoints.broken_config, {"knows.architecture": "bad-checkpoint"}),
    "pickle": (checkpoints.pickle_only, {"loads.model": "pickle-weights"}),
    "remote code": (checkpoints.remote_code, {"knows.architecture": "needs-remote-code"}),
    "tokenizer": (checkpoints.no_tokenizer, {"speaks.tokenizer": "bad-checkpoint"}),
    "tokenizer config": (checkpoints.broken_tokenizer_config, {"speaks.tokenizer": "bad-checkpoint"}),
    "unknown": (checkpoints.unknown_architecture, {"knows.architecture": "unknown-architecture"}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_fault_of_the_files_is_the_models(tmp_path: Path, name: str) -> None:
    make, expected = FILES[name]
    finished = outcomes(tmp_path, make(checkpoints.bare(tmp_path / "good", **CONFIG), tmp_path / "bad"))
    assert faults(finished) == expected


def test_rows_avoid_what_has_a_meaning_and_never_change(tmp_path: Path) -> None:
    folder = checkpoints.bare(tmp_path / "good", image_token_index=40, eos_token_id=[50, 51], vocab_size=64)
    subject = Subject(PlainRuntime(), "transformers", {"path": str(folder)}, seed=0)  # type: ignore[arg-type]
    subject.config_json = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    row = subject.row(500, seed=1)
    assert not {*range(8), 40, 50, 51} & set(row)
    assert row[:6] == subject.row(6, seed=1) != subject.row(6, seed=2)
    assert len(set(row)) > 40
