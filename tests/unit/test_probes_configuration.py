"""A configuration is wrong only where the runtime would compute something else than the model's files say."""

from __future__ import annotations

from typing import Any

import pytest

from probes.configuration import Effective, difference, renamed

LAYERS = ["sliding_attention", "full_attention"]


def compared(
    config_json: dict[str, Any], values: dict[str, Any], *, read: set[str] | None = None
) -> dict[str, list[Any]]:
    known = frozenset({*values, *config_json} if read is None else read)
    return difference(config_json, Effective(values, known, {})).wrong


AGREE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "same": ({"rms_norm_eps": 3e-5}, {"rms_norm_eps": 3e-5}),
    "an integer is a float": ({"routed_scaling_factor": 2}, {"routed_scaling_factor": 2.0}),
    "a tuple is a list": ({"mlp_only_layers": [1, 2]}, {"mlp_only_layers": (1, 2)}),
    "none leaves it to the runtime": ({"head_dim": None}, {"head_dim": 64}),
    "keys become numbers": ({"x": {"0": 1}}, {"x": {0: 1}}),
    "noise": ({"torch_dtype": "bfloat16", "transformers_version": "4.1"}, {"torch_dtype": "float32"}),
    "one end or a list of one": ({"eos_token_id": 2}, {"eos_token_id": [2]}),
    "a window that is switched off": ({"sliding_window": 8, "use_sliding_window": False}, {"sliding_window": None}),
    "half a window on either side": (
        {"sliding_window": 16, "use_bidirectional_attention": True},
        {"sliding_window": 9, "use_bidirectional_attention": True},
    ),
    "renamed layer kinds": ({"layer_types": ["attention", "mamba"]}, {"layer_types": ["full_attention", "mamba"]}),
    "theta in the older spelling": ({"rope_theta": 7e5}, {"rope_theta": 7e5, "rope_scaling": None}),
    "theta in the newer": ({"rope_theta": 7e5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 7e5}}),
    "newer read as newer": (
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5.0}},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4, "rope_theta": 5.0}},
    ),
    "two thetas by layer kind": (
        {"rope_theta": 7e5, "rope_local_base_freq": 9e3, "rope_scaling": None},
        {"rope_parameters": {"full_attention": {"rope_theta": 7e5}, "sliding_attention": {"rope_theta": 9e3}}},
    ),
    "an older word for the kind": (
        {"rope_scaling": {"type": "su", "factor": 4.0}, "rope_theta": 9.0},
        {"rope_parameters": {"rope_type": "longrope", "factor": 4.0, "rope_theta": 9.0}},
    ),
    "a partial rotation": (
        {"rope_theta": 9.0, "partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_theta": 9.0, "partial_rotary_factor": 0.5}},
    ),
    "one value for all layers": ({"intermediate_size": 8}, {"intermediate_size": [8, 8]}),
    "positions laid out otherwise": (
        {"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}},
        {"rope_parameters": {"rope_type": "axial", "rope_theta": 9.0}},
    ),
    "a base for all layers, by kind in the runtime": (
        {"rope_theta": 7e5, "rope_scaling": {"rope_type": "yarn", "factor": 8.0}},
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "yarn", "factor": 8.0, "rope_theta": 7e5},
                "sliding_attention": {"rope_type": "default", "rope_theta": 7e5},
            }
        },
    ),
    "a local base of the architecture's": (
        {"model_type": "gemma3_text", "rope_theta": 7e5},
        {"rope_parameters": {"full_attention": {"rope_theta": 7e5}, "sliding_attention": {"rope_theta": 1e4}}},
    ),
    "infinity as transformers 5 writes it": (
        {"time_step_limit": [0.0, {"__float__": "Infinity"}]},
        {"time_step_limit": (0.0, float("inf"))},
    ),
    "a pattern as its layers": ({"sliding_window_pattern": 2}, {"layer_types": LAYERS * 2}),
}


@pytest.mark.parametrize("name", AGREE)
def test_what_agrees(name: str) -> None:
    assert compared(*AGREE[name]) == {}


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "eps": ({"rms_norm_eps": 3e-5}, {"rms_norm_eps": 1e-6}, "rms_norm_eps"),
    "top-k": ({"num_experts_per_tok": 3}, {"num_experts_per_tok": 2}, "num_experts_per_tok"),
    "a switch": ({"norm_topk_prob": True}, {"norm_topk_prob": False}, "norm_topk_prob"),
    "a lost window": ({"sliding_window": 16}, {"sliding_window": None}, "sliding_window"),
    "layers swapped": ({"layer_types": LAYERS}, {"layer_types": [LAYERS[0]] * 2}, "layer_types"),
    "theta fell back": ({"rope_theta": 7e5}, {"rope_theta": 1e4}, "rope.rope_theta"),
    "scaling dropped": (
        {"rope_theta": 7e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_theta": 7e5, "rope_scaling": None},
        "rope.rope_type",
    ),
    "the local theta lost": (
        {"rope_theta": 7e5, "rope_local_base_freq": 9e3},
        {"rope_parameters": {"full_attention": {"rope_theta": 7e5}, "sliding_attention": {"rope_theta": 1e4}}},
        "rope.sliding_attention.rope_theta",
    ),
    "one base for all layers, and the sliding ones lost it": (
        {"rope_theta": 7e5},
        {"rope_parameters": {"full_attention": {"rope_theta": 7e5}, "sliding_attention": {"rope_theta": 1e4}}},
        "rope.sliding_attention.rope_theta",
    ),
    "another infinity": (
        {"time_step_limit": [0.0, {"__float__": "Infinity"}]},
        {"time_step_limit": [0.0, 1.0]},
        "time_step_limit",
    ),
    "another pattern": ({"sliding_window_pattern": 3}, {"layer_types": LAYERS * 3}, "sliding_window_pattern"),
    "another value in one layer": ({"intermediate_size": 8}, {"intermediate_size": [8, 16]}, "intermediate_size"),
    "another end": ({"eos_token_id": [1, 106]}, {"eos_token_id": 1}, "eos_token_id"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong(name: str) -> None:
    config_json, values, key = WRONG[name]
    assert key in compared(config_json, values)


def test_newer_spelling_that_an_older_runtime_only_stores_is_wrong() -> None:
    config_json = {"rope_parameters": {"rope_type": "default", "rope_theta": 7e5}}
    stored = {**config_json, "rope_theta": 1e4, "rope_scaling": None}
    assert compared(config_json, stored, read={"rope_theta", "rope_scaling"}) == {"rope.rope_theta": [7e5, 1e4]}


def test_what_the_runtimes_code_never_reads() -> None:
    config_json = {
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": None,
        "made_up": 3,
        "attention_bias": False,
    }
    found = difference(config_json, Effective(dict(config_json), frozenset({"hidden_size"}), {}))
    assert found.wrong == {"attn_logit_softcapping": [50.0, "never read by the runtime"]}
    assert found.unread == ["attention_bias", "made_up"]


def test_a_key_that_is_read_under_its_other_name_is_read() -> None:
    # Gemma 3 writes hidden_activation, and some of its copies hidden_act, too
    written = {"hidden_activation": "gelu", "hidden_act": "gelu", "num_experts_per_tok": 3, "top_k_experts": 4}
    values = {"hidden_act": "gelu", "num_experts_per_tok": 3}
    found = difference(written, Effective(values, frozenset(values), {}))
    assert found.wrong == {"top_k_experts": [4, "never read by the runtime"]}  # another value is not the same thing
    assert found.unread == ["hidden_activation"]


def test_nested_parts_are_named_with_their_place() -> None:
    text = Effective({"sliding_window": 32, "rope_theta": 1e4}, frozenset({"sliding_window", "rope_theta"}), {})
    config_json = {"text_config": {"sliding_window": 16, "rope_theta": 7e5}}
    wrong = difference(config_json, Effective({}, frozenset({"text_config"}), {"text_config": text})).wrong
    assert wrong == {"text_config.sliding_window": [16, 32], "text_config.rope.rope_theta": [7e5, 1e4]}


def test_an_architecture_without_rotary_positions_may_publish_a_theta() -> None:
    assert compared({"rope_theta": 1e4}, {"head_dim": 64}, read={"head_dim"}) == {}


@pytest.mark.parametrize(
    ("config_json", "effective", "same"),
    [
        (["a", "b", "a"], ["x", "y", "x"], True),
        (["a", "b", "a"], ["x", "x", "x"], False),
        (["a", "a"], ["x", "y"], False),
        (["a"], ["x", "x"], False),
        ([1, 2], [3, 4], False),
    ],
)
def test_renaming_is_one_to_one(config_json: list[Any], effective: list[Any], same: bool) -> None:
    assert renamed(config_json, effective) is same
