"""A change of a value in config.json changes the answer; red only where the published value is not what is used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from probes import effects
from probes.events import Events
from probes.subject import Subject, run_checks
from tests.specimens import checkpoints
from tests.specimens.runtimes import PlainRuntime

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {"sliding_window": 16, "rope_theta": 7e5, "attention_dropout": 0.0}


def answer(tmp_path: Path, defect: str = "", golden: Any = None, **config: Any) -> dict[str, Any]:
    folder = checkpoints.bare(tmp_path / "good", **CONFIG | config)
    runtime: Any = PlainRuntime(defect)
    subject = Subject(runtime, "transformers", {"path": str(folder), "golden": golden}, seed=0)
    run_checks(subject, "m", Events(str(tmp_path / "events.jsonl")))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_bytes().splitlines()]
    facts = {event["name"]: event["value"] for event in events if event["event"] == "fact"}
    (finished,) = [event for event in events if event["event"] == "finished" and event["check"] == "knows.effects"]
    return {**finished, "facts": facts}


def test_every_value_of_a_good_runtime_has_an_effect(tmp_path: Path) -> None:
    good = answer(tmp_path)
    assert good["outcome"] == "passed", good
    assert good["evidence"]["changing"] == ["sliding_window", "rope_theta"]


ROTARY = {"rotary_dim": 8, "head_dim": 16}
OFF = {"use_sliding_window": False}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "deaf to the window": ({}, "sliding_window is 16 and changes nothing; the default is 4096"),
    # Qwen 2 from 4.49.0 to 4.51.3
    "hears what is off": (OFF, "sliding_window changes the answer, although use_sliding_window is false"),
    "drops out": ({}, "attention_dropout changes the answer, although only training uses it"),
    # MiniMax M2 in 5.0: the whole head is rotated
    "deaf to rotary_dim": (ROTARY, "rotary_dim 8 is not used: under another name, this value changes the answer"),
}  # fmt: skip


@pytest.mark.parametrize("defect", WRONG)
def test_a_value_that_is_not_used_fails(tmp_path: Path, defect: str) -> None:
    config, message = WRONG[defect]
    wrong = answer(tmp_path, defect, **config)
    assert (wrong["outcome"], wrong["fault"], wrong["message"]) == ("failed", "wrong-config", message)


@pytest.mark.parametrize("config", [OFF, OFF | {"sliding_window": None}, ROTARY, {"rope_theta": 10000.0}])
def test_the_same_files_pass_in_a_good_runtime(tmp_path: Path, config: dict[str, Any]) -> None:
    assert answer(tmp_path, **config)["outcome"] == "passed"


FINDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "theta": ({}, "rope_theta"),  # knows.config says what is used
    # Qwen 3 in 4.51: the published window is null, and every window would be taken
    "hears what is off": (OFF | {"sliding_window": None, "max_window_layers": 28}, "sliding_window"),
    "reads one spelling": ({}, "rope_parameters"),
}


@pytest.mark.parametrize("defect", FINDINGS)
def test_what_no_published_value_shows_is_a_finding(tmp_path: Path, defect: str) -> None:
    config, name = FINDINGS[defect]
    skipped = answer(tmp_path, defect, **config)
    assert (skipped["outcome"], list(skipped["facts"]["ignored_values"])) == ("skipped", [name]), skipped
    assert name in skipped["message"]


def test_a_window_at_its_default_could_be_what_is_used(tmp_path: Path) -> None:
    assert answer(tmp_path, "deaf to the window", sliding_window=4096)["outcome"] == "skipped"


def test_a_file_that_was_put_together_may_lack_what_says_the_same(tmp_path: Path) -> None:
    assert answer(tmp_path, "deaf to rotary_dim", {"published": False}, **ROTARY)["outcome"] == "passed"


@pytest.mark.parametrize(
    ("defect", "reason"), [("one of a kind", "not made again"), ("made otherwise", "answers otherwise")]
)
def test_a_model_that_cannot_be_made_again_is_not_asked(tmp_path: Path, defect: str, reason: str) -> None:
    skipped = answer(tmp_path, defect)
    assert (skipped["outcome"], reason in skipped["message"]) == ("skipped", True), skipped


def changed(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {change.name: change.config for change in effects.changes(config)}


def test_names_of_one_thing_change_together() -> None:
    nested = {"rope_theta": 1e4, "rope_type": "default"}
    files = changed({"rope_theta": 1e4, "rope_parameters": nested, "norm_eps": 1e-6})
    assert list(files) == ["rope_theta", "norm_eps"]
    assert files["rope_theta"]["rope_parameters"]["rope_theta"] == files["rope_theta"]["rope_theta"] == 8e4


def test_kinds_of_layers_change_one_by_one_and_hide_what_is_written_for_all() -> None:
    kinds = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    files = changed({"text_config": {"rope_parameters": kinds, "rope_theta": 5.0}})
    assert list(files) == [f"text_config.rope_parameters.{kind}.rope_theta" for kind in kinds]


def test_what_is_off_or_nothing_is_not_asked() -> None:
    off: dict[str, Any] = {
        "use_sliding_window": False,
        "sliding_window": 8,
        "num_experts_per_tok": 0,
        "rms_norm_eps": None,
    }
    off["rope_scaling"] = {"rope_type": "default", "factor": 8.0}
    assert not changed(off)
    beside = [file.names for file in effects.switched_off(off)]
    assert beside == [["sliding_window"], ["max_window_layers"], ["rope_scaling.factor"]]
    assert len(list(effects.switched_off({**off, "layer_types": ["sliding_attention"]}))) == 1


def test_other_parts_of_a_model_are_not_asked() -> None:
    assert not changed({"vision_config": {"rms_norm_eps": 1e-6}, "quantization_config": {"factor": 4}})


def test_sizes_stay_and_whole_numbers_stay_whole() -> None:
    files = changed({"sliding_window": 16, "num_experts_per_tok": 1, "no_rope_layers": [1, 0], "hidden_size": 64,
                     "rope_scaling": {"type": "yarn", "factor": 8, "beta_fast": 32}})  # fmt: skip
    assert files["sliding_window"]["sliding_window"] == 5
    assert files["num_experts_per_tok"]["num_experts_per_tok"] == 2
    assert files["no_rope_layers"]["no_rope_layers"] == [0, 1]
    assert [type(files[f"rope_scaling.{name}"]["rope_scaling"][name]) for name in ("factor", "beta_fast")] == [int, int]


def test_other_switches_and_fractions_are_asked_for_information() -> None:
    config = {"mup_enabled": True, "key_multiplier": 0.5, "initializer_range": 0.02, "hidden_size": 64}
    assert [name for name, _ in effects.unknown(config)] == ["mup_enabled", "key_multiplier"]


@pytest.mark.parametrize("rope", [{"rope_type": "default", "rope_theta": 1e4},
                                  {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}])  # fmt: skip
def test_flat_and_nested_are_spelled_into_each_other(rope: dict[str, Any]) -> None:
    scaling = {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}} if "factor" in rope else {}
    flat, nested = {"rope_theta": 1e4, **scaling}, {"rope_parameters": rope}
    for section, other in ((flat, nested), (nested, flat)):
        values = effects.other_spelling(section, rope)
        assert values is not None
        assert effects.with_section(section, (), values) == other
    assert effects.other_spelling({}, rope) is None
    assert effects.other_spelling(flat, None) is None
