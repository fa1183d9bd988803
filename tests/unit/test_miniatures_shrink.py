"""Shrinking keeps a configuration's keys, kinds and pattern, and changes sizes only."""

from __future__ import annotations

import json

import pytest

from monitor.miniatures.depth import MAX_LAYERS
from monitor.miniatures.manifest import data_folder
from monitor.miniatures.sections import HIDDEN
from monitor.miniatures.shrink import VOCABULARY, WINDOW, shrink
from monitor.miniatures.tokenizer import Tokens

TOKENS = Tokens(bos="<s>", eos=("</s>", "<end>"), pad="<pad>")
PUBLISHED = sorted(
    entry.name
    for entry in (data_folder() / "published").iterdir()
    if entry.name.endswith(".json") and not entry.name.endswith(("generation_config.json", "preprocessor_config.json"))
)


def published(name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((data_folder() / "published" / name).read_text(encoding="utf-8"))
    return content


def small_of(config: dict[str, object]) -> dict[str, object]:
    return shrink(config, TOKENS)[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_configuration_keeps_its_keys(name: str) -> None:
    own = published(name)
    assert set(own) <= set(small_of(own)) | {"quantization_config"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_token_ids_fit_the_vocabulary(name: str) -> None:
    def ids(config: dict[str, object]) -> list[object]:
        found: list[object] = []
        for key, value in config.items():
            if isinstance(value, dict):
                found += ids(value)
            elif key.endswith(("_token_id", "_token_index")) and value is not None:
                found += value if isinstance(value, list) else [value]
        return found

    assert all(isinstance(index, int) and 0 <= index < 64 for index in ids(small_of(published(name))))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_window_as_long_as_the_context_never_closes(name: str) -> None:
    # Phi 3.5 MoE's is 131072 of 131072 tokens: closed after 16 it made 4.56.0 red for what no text can reach
    own = published(name)
    window, context = own.get("sliding_window"), own.get("max_position_embeddings")
    if isinstance(window, int) and isinstance(context, int):
        assert small_of(own)["sliding_window"] == (window if window >= context else WINDOW)


def test_heads_that_make_up_the_hidden_size_still_do() -> None:
    # 4.47.1 computes GLM's head size and reads none, which is right for every checkpoint there is
    small = small_of({"model_type": "glm", "hidden_size": 4096, "num_attention_heads": 32, "head_dim": 128})
    assert small["head_dim"] * small["num_attention_heads"] == small["hidden_size"]  # type: ignore[operator]


def test_a_pattern_keeps_a_full_period() -> None:
    small = small_of(
        {
            "model_type": "olmo3",
            "num_hidden_layers": 8,
            "layer_types": ["sliding_attention"] * 3
            + ["full_attention"]
            + ["sliding_attention"] * 3
            + ["full_attention"],
            "sliding_window": 4096,
        }
    )
    assert small["layer_types"] == ["sliding_attention"] * 3 + ["full_attention"]
    assert small["num_hidden_layers"] == 4
    assert small["sliding_window"] == WINDOW


def test_shared_keys_and_values_keep_layers_of_both_sorts() -> None:
    period = ["sliding_attention"] * 4 + ["full_attention"]
    small = small_of({"num_hidden_layers": 35, "layer_types": period * 7, "num_kv_shared_layers": 20})
    assert (small["num_hidden_layers"], small["num_kv_shared_layers"]) == (10, 5)
    assert small["layer_types"] == period * 2


def test_a_hybrid_pattern_as_text_is_cut_like_a_list() -> None:
    small = small_of({"model_type": "x", "num_hidden_layers": 12, "hybrid_override_pattern": "MEMEM*EMEMEM"})
    assert small["hybrid_override_pattern"] == "MEMEM*"


def test_a_model_type_as_long_as_the_model_is_deep_is_no_pattern() -> None:
    # "gemma4_audio" has twelve letters, and the audio tower of Gemma 4 E2B twelve layers
    assert small_of({"model_type": "gemma4_audio", "num_hidden_layers": 12})["num_hidden_layers"] == 2


def test_latent_attention_has_as_many_key_value_heads_as_heads() -> None:
    small = small_of({"kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_attention_heads": 64, "num_key_value_heads": 8})
    assert small["num_key_value_heads"] == small["num_attention_heads"] == 4


def test_two_head_sizes_stay_two() -> None:
    small = small_of({"head_dim": 256, "global_head_dim": 512, "num_attention_heads": 32, "num_key_value_heads": 16})
    assert (small["head_dim"], small["global_head_dim"]) == (64, 128)


def test_nested_parts_are_shrunk_and_quantisation_is_dropped_everywhere() -> None:
    small = small_of(
        {
            "text_config": {"hidden_size": 7168, "vocab_size": 163840, "quantization_config": {"bits": 4}},
            "vision_config": {"hidden_size": 1152, "depth": 27},
            "quantization_config": {"bits": 4},
            "image_token_id": 248056,
        }
    )
    assert small["text_config"] == {"hidden_size": HIDDEN, "vocab_size": VOCABULARY}
    assert small["vision_config"] == {"hidden_size": 128, "depth": 2}
    assert "quantization_config" not in small


def test_further_token_ids_get_tokens_of_their_own() -> None:
    small, tokens = shrink({"image_token_id": 9999, "eos_token_id": [7, 8], "pad_token_id": None}, TOKENS)
    assert small["image_token_id"] == tokens.ids()["<|image|>"]
    assert small["eos_token_id"] == [tokens.ids()["</s>"], tokens.ids()["<end>"]]
    assert small["pad_token_id"] is None


def test_no_depth_is_unbounded() -> None:
    small = small_of({"num_hidden_layers": 100, "layer_types": ["a"] * 99 + ["b"]})
    assert small["num_hidden_layers"] == MAX_LAYERS
