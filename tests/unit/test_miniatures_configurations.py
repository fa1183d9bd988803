"""Every published configuration at hand shrinks to something small and consistent, whatever sections it has."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.miniatures.depth import by_layer, depth_of
from monitor.miniatures.shrink import shrink
from monitor.miniatures.size import too_large
from monitor.miniatures.tokenizer import Tokens, vocabulary
from monitor.miniatures.unmeasured import unmeasured

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = Tokens(bos="<s>", eos=("</s>",), pad="<pad>")
DATA = Path(__file__).parents[1] / "data" / "configurations.json.xz"
SHIPPED = json.loads(lzma.decompress(DATA.read_bytes()))
CONFIGURATIONS: dict[str, dict[str, Any]] = SHIPPED["configurations"] | {
    name: json.loads(files["config.json"]) for name, files in SHIPPED["inputs"].items()
}


def sections(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from sections(value)


def pairs(published: dict[str, Any], small: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    yield published, small
    for key, value in published.items():
        if isinstance(value, dict) and isinstance(small.get(key), dict):
            yield from pairs(value, small[key])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_published_configuration_shrinks_to_something_small(name: str) -> None:
    config = CONFIGURATIONS[name]
    small, tokens = shrink(config, TOKENS)
    assert too_large(small) == ""
    assert len(vocabulary(tokens)) == 512


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_lists_by_layer_are_as_long_as_the_miniature_is_deep(name: str) -> None:
    # LFM2.5-VL's and GLM-5.2's were cut before the depth was set
    config = CONFIGURATIONS[name]
    for published, small in pairs(config, shrink(config, TOKENS)[0]):
        lengths = {
            key: len(small[key])
            for key, value in published.items()
            if by_layer(value, depth_of(published)) and isinstance(small.get(key), list)
        }
        assert lengths == dict.fromkeys(lengths, depth_of(small))


def test_every_section_of_a_model_shrinks_however_deep_it_is() -> None:
    small, _ = shrink(CONFIGURATIONS["D_Qwen3-Omni-30B-A3B"], TOKENS)
    widths = {section["hidden_size"] for section in sections(small) if isinstance(section.get("hidden_size"), int)}
    assert max(widths) == small["talker_config"]["thinker_hidden_size"] == 256
    assert max(section.get("num_hidden_layers", 0) for section in sections(small)) <= 12


def test_a_tower_beside_a_flat_text_part_shrinks() -> None:
    small, _ = shrink(CONFIGURATIONS["C_qwen2.5_vl_7b"], TOKENS)
    assert (small["hidden_size"], small["vision_config"]["hidden_size"]) == (256, 128)
    assert small["vision_config"]["fullatt_block_indexes"] == [7]
    assert small["vision_config"]["depth"] == 8


def test_the_outer_copy_of_the_text_size_follows_it() -> None:
    small, _ = shrink(CONFIGURATIONS["D_Voxtral-Mini-3B-2507"], TOKENS)
    text = small["text_config"]
    assert (small["hidden_size"], small["vocab_size"]) == (text["hidden_size"], text["vocab_size"]) == (256, 512)


def test_lists_of_layer_numbers_name_layers_that_are_there() -> None:
    small, _ = shrink(CONFIGURATIONS["D_Kimi-Linear-48B-A3B"], TOKENS)
    assert small["num_hidden_layers"] == 4
    assert small["linear_attn_config"]["kda_layers"] == [1, 2, 3]
    assert small["linear_attn_config"]["full_attn_layers"] == [4]


@pytest.mark.parametrize(
    ("name", "part", "sentence"),
    [
        ("F_quant-ct-mixed", "weights", "published weights are compressed-tensors (mixed-precision): not measured"),
        (
            "F_quant-nonsense",
            "weights",
            "published weights are no-such-method-2027 (3 bits), a method that is not known: not measured",
        ),
        ("deepseek-ai/DeepSeek-V3", "weights", "published weights are fp8 (e4m3): not measured"),
        (
            "deepseek-ai/DeepSeek-V3",
            "heads",
            "it has 1 head for further tokens (num_nextn_predict_layers): not measured",
        ),
        ("C_qwen2.5_vl_7b", "images", "the model takes images, and none is given: not measured"),
        ("D_Voxtral-Mini-3B-2507", "sounds", "the model takes sounds, and none is given: not measured"),
    ],
)
def test_what_a_miniature_leaves_out_is_said(name: str, part: str, sentence: str) -> None:
    assert unmeasured(CONFIGURATIONS[name])[part] == sentence


def test_a_plain_model_leaves_nothing_out() -> None:
    assert unmeasured(CONFIGURATIONS["Qwen/Qwen3-8B"]) == {}
