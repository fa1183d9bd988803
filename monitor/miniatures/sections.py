"""The sections inside a configuration: which are models and which towers, and how a tower shrinks; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from monitor.miniatures.depth import DEPTHS, by_layer, depth_of, layers_of, numbers_cut
from monitor.miniatures.unmeasured import QUANTIZATION

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN = 256

Config = dict[str, Any]

_VISION = {
    "hidden_size": 128,
    "vt_hidden_size": 128,
    "mm_hidden_size": 128,
    "intermediate_size": 256,
    "vt_intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_heads": 4,
    "vt_num_attention_heads": 4,
    "head_dim": 32,
    "global_head_dim": 32,
    "position_embedding_size": 64,
    "num_position_embeddings": 64,
    "out_hidden_size": HIDDEN,
    "text_hidden_size": HIDDEN,
    "projection_dim": HIDDEN,
    "init_pos_emb_height": 8,
    "init_pos_emb_width": 8,
    "pos_emb_height": 8,
    "pos_emb_width": 8,
    "output_proj_dims": 128,
    "deepstack_visual_indexes": [],
    "d_model": 128,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 512,
    "downsample_hidden_size": 64,
    "output_dim": HIDDEN,
    "vision_output_dim": HIDDEN,
    "projector_input_dim": HIDDEN,
    "projector_output_dim": HIDDEN,
    "decoder_dim": 128,
    "codebook_dim": 64,
    "codebook_size": 64,
    "semantic_codebook_size": 64,
    "vector_quantization_hidden_dimension": 64,
}
# sections by their names: towers for images and sounds, and what reads or writes text
_TOWER = re.compile(r"vision|visual|image|video|audio|speech|sound|code2wav|vocoder|codec|projector|encoder|vq")
_MODEL = re.compile(r"^(text|llm|language|language_model|thinker|talker|decoder|code_predictor)(_config)?$")
_MORE_THAN_A_PART = frozenset({"hidden_size", "num_hidden_layers"})
_WIDTHS_OF_TEXT = frozenset({"thinker_hidden_size", "text_hidden_size", "llm_hidden_size", "language_hidden_size"})
_SOFT_TOKENS = frozenset({"mm_tokens_per_image", "vision_soft_tokens_per_image", "audio_soft_tokens_per_image"})


def is_model(key: str, value: Any) -> bool:
    if not isinstance(value, dict) or key in QUANTIZATION or _TOWER.search(key):
        return False
    return bool(_MODEL.search(key)) or (key.endswith("_config") and value.keys() >= _MORE_THAN_A_PART)


def is_tower(key: str, value: Any) -> bool:
    return isinstance(value, dict) and key not in QUANTIZATION and bool(_TOWER.search(key)) and key.endswith("_config")


def copied_sizes(outer: Config, section: Config, small: Config) -> Config:
    """Return the outer copies of a section's sizes, which have to follow it."""
    return {
        key: small[key]
        for key, value in section.items()
        if key in small and is_id(value) and outer.get(key) == value and not key.endswith(("_id", "_index"))
    }


def outer_sizes(config: Config) -> Config:
    """Return the sizes that stand beside a model and its towers and are a width or a count of either."""
    sizes = {key: 4 for key in _SOFT_TOKENS if key in config}
    return sizes | {key: HIDDEN for key in _WIDTHS_OF_TEXT if isinstance(config.get(key), int)}


def is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def without(config: Mapping[str, Any]) -> Config:
    """Leave out what is not the miniature's: its weights are plain."""
    return {key: value for key, value in config.items() if key not in QUANTIZATION}


def small_tower(config: Config) -> Config:
    layers = layers_of(config, {})
    sized: Config = {key: _VISION.get(key, value) if value is not None else None for key, value in config.items()}
    nested = {key: value for key, value in config.items() if isinstance(value, dict) and key.endswith("_config")}
    sized |= {key: small_tower(value) for key, value in nested.items()}
    if config.get("hidden_size") and config.get("intermediate_size") == 4 * config["hidden_size"]:
        sized["intermediate_size"] = 4 * sized["hidden_size"]  # some projectors take four patches, and not the number
    sized |= _cut_lists(config, layers)
    sized |= {key: layers for key in DEPTHS if isinstance(config.get(key), int)}
    if isinstance(config.get("image_size"), int):
        sized["image_size"] = 8 * int(config.get("patch_size", 16))
    return without(sized)


def _cut_lists(config: Config, layers: int) -> Config:
    depth = depth_of(config)
    by_place = {key: value[:layers] for key, value in config.items() if by_layer(value, depth)}
    nested = {
        key: value | numbers_cut(value, depth, layers)
        for key, value in config.items()
        if isinstance(value, dict) and numbers_cut(value, depth, layers)
    }
    return by_place | numbers_cut(config, depth, layers) | nested
