"""Shrink a published configuration by its field names, keeping its layer kinds, their pattern and every other key."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.miniatures.depth import DEPTHS, by_layer, depth_of, layers_of, lists_cut, numbers_cut
from monitor.miniatures.needs import NEEDS
from monitor.miniatures.sections import (
    HIDDEN,
    copied_sizes,
    is_id,
    is_model,
    is_tower,
    outer_sizes,
    small_tower,
    without,
)
from monitor.miniatures.unmeasured import NO_EXTRA_HEADS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.miniatures.sections import Config
    from monitor.miniatures.tokenizer import Tokens

HEADS = 4
SMALL_HEAD, LARGE_HEAD = 64, 128
VOCABULARY = 512
WINDOW = 16  # smaller than the probe's prompts, so that prompts cross it
STATE = 32

_TOKEN_ID = re.compile(r"_(token_id|token_index)$")
_EXPERTS = frozenset({"num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts"})
_TOP_K = frozenset(
    {
        "num_experts_per_tok",
        "num_experts_per_token",
        "top_k_experts",
        "moe_k",
        "moe_topk",
        "moe_top_k",
        "experts_per_token",
    }
)
_WINDOWS = frozenset(
    {
        "sliding_window",
        "sliding_window_size",
        "attention_chunk_size",
        "attention_window_size",
        "window_size",
        "index_topk",
    }
)
_CHUNKS = frozenset({"chunk_size", "mamba_chunk_size", "block_size"})
_FIXED: dict[str, int] = {
    "vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "embedding_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "n_embd": HIDDEN,
    "d_model": HIDDEN,
    "num_attention_heads": HEADS,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_head": HEADS,
    "mlp_hidden_size": 512,
    "intermediate_size_mlp": 512,
    "dense_intermediate_size": 512,
    "mlp_intermediate_size": 512,
    "shared_intermediate_size": 256,
    "moe_intermediate_size": 256,
    "expert_intermediate_size": 256,
    "expert_hidden_dim": 256,
    "moe_shared_expert_intermediate_size": 256,
    "shared_expert_intermediate_size": 256,
    "moe_latent_size": 128,
    "hidden_size_per_layer_input": 64,
    "q_lora_rank": 96,
    "o_lora_rank": 64,
    "qk_nope_head_dim": 64,
    "v_head_dim": 64,
    "index_head_dim": 128,
    "index_n_heads": 16,  # with few heads most scores are zero, and which of those are best is anyone's choice
    "mamba_d_state": STATE,
    "ssm_state_size": STATE,
    "state_size": STATE,
    "mamba_n_heads": 8,
    "mamba_num_heads": 8,
    "mamba_d_head": 64,
    "mamba_head_dim": 64,
    "mamba_headdim": 64,
    "mamba_d_ssm": 512,
    "n_mamba_heads": 8,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "lru_width": HIDDEN,
    "conv_dim": HIDDEN,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "moe_layer_start_index": 1,
}
_SPARSE = {
    "hidden_size": HIDDEN,
    "intermediate_size": 512,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "num_hidden_layers": 2,
}
_LINEAR = {"head_dim": SMALL_HEAD, "num_heads": HEADS}


def shrink(config: Config, tokens: Tokens, *, names: Mapping[int, str] | None = None) -> tuple[Config, Tokens]:
    """Return the miniature's configuration: same keys in the same spelling, other sizes.

    Values that are no sizes stay as published: they decide the model's verdict. Token ids follow ``tokens``, which come
    back with a token for every further id the configuration names (an image's, a video's). ``names`` has the published
    tokens by id: an end that the publisher left out is left out here, too.
    """
    small = _section(copy.deepcopy(config))
    tokens = replace(tokens, extra=(*tokens.extra, *_named_tokens(small)))
    return _with_ids(small, tokens, names or {}), tokens


def _named_tokens(config: Config) -> list[str]:
    named = [_token_name(key) for key, value in config.items() if _TOKEN_ID.search(key) and is_id(value)]
    nested = [name for value in config.values() if isinstance(value, dict) for name in _named_tokens(value)]
    return [name for name in dict.fromkeys([*named, *nested]) if name not in {"<|bos|>", "<|eos|>", "<|pad|>"}]


def _token_name(key: str) -> str:
    return f"<|{_TOKEN_ID.sub('', key)}|>"


def _with_ids(config: Config, tokens: Tokens, names: Mapping[int, str]) -> Config:
    ids = tokens.ids()
    known = {"bos_token_id": ids.get(tokens.bos or ""), "pad_token_id": ids[tokens.pad]}
    mapped: Config = {}
    for key, value in config.items():
        if isinstance(value, dict):
            mapped[key] = _with_ids(value, tokens, names)
        elif key == "eos_token_id" and value is not None:
            ends = _ends(value, ids, names) or [ids[token] for token in tokens.eos]
            mapped[key] = ends if isinstance(value, list) else ends[0]
        elif not _TOKEN_ID.search(key) or not is_id(value):
            mapped[key] = value
        else:
            mapped[key] = known[key] if key in known else ids[_token_name(key)]
    return mapped


def _ends(published: Any, ids: Mapping[str, int], names: Mapping[int, str]) -> list[int]:
    """Return the miniature's ids of the published ends, none where they have no names."""
    values = published if isinstance(published, list) else [published]
    return [ids[names[value]] for value in values if isinstance(value, int) and names.get(value) in ids]


def _section(config: Config) -> Config:
    """Shrink a configuration with the sections inside it, however deep they are."""
    models = {
        key: _SPARSE | _section(value) if _is_sparse(value) else _section(value)
        for key, value in config.items()
        if is_model(key, value)
    }
    towers = {key: small_tower(value) for key, value in config.items() if is_tower(key, value)}
    needs = NEEDS.get(str(config.get("model_type")), {})
    if not models:
        return _merged({**_text(config, needs), **towers}, needs)
    copies: Config = {}
    for name, small in models.items():
        copies |= copied_sizes(config, config[name], small)
    return _merged(without({**config, **copies, **outer_sizes(config), **towers, **models}), needs)


def _is_sparse(section: Config) -> bool:
    """Return whether a section leaves all its sizes to the defaults of its type, as LLaVA's text part does."""
    return "model_type" in section and not section.keys() & {"hidden_size", "d_model", "n_embd", "text_config"}


def _text(config: Config, needs: Config) -> Config:
    published = without(config)
    layers = layers_of(published, needs)
    small = {key: _value(key, value, published, layers) for key, value in published.items()}
    return _consistent(small | _parts_by_number(small, published, layers), published)


def _parts_by_number(small: Config, published: Config, layers: int) -> Config:
    """Return the lists of layer numbers, of the configuration and of its sections, without layers that are gone."""
    depth = depth_of(published)
    nested = {key: lists_cut(value, depth, layers) for key, value in published.items() if isinstance(value, dict)}
    parts = {key: small[key] | cut for key, cut in nested.items() if cut}
    if isinstance(published.get("linear_attn_config"), dict):
        linear: Config = parts.get("linear_attn_config") or small["linear_attn_config"]
        parts["linear_attn_config"] = linear | {key: size for key, size in _LINEAR.items() if key in linear}
    return numbers_cut(published, depth, layers) | parts


def _value(key: str, value: Any, config: Config, layers: int) -> Any:  # noqa: C901, PLR0911, PLR0912 -- one table, read downwards
    if value is None or isinstance(value, bool):
        return value
    if key in DEPTHS or key == "max_window_layers":
        return layers
    if key == "num_kv_shared_layers":
        return layers // 2 if value else 0
    if key == "hybrid_override_pattern":
        return value[:layers]
    if by_layer(value, depth_of(config)):
        return [_entry(key, item, config, layers) for item in value[:layers]]
    if key in {"rope_scaling", "rope_parameters", "rope_local_parameters"} and isinstance(value, dict):
        return _rope(value, config)
    if not isinstance(value, (int, float)) or not value:
        return value
    if key in _FIXED:
        return _FIXED[key]
    if key in _EXPERTS:
        return value if value == 1 else 8 if (config.get("n_group") or 1) > 1 else 4
    if key in _TOP_K:
        return min(3, value)
    if key in {"n_group", "num_expert_group"}:
        return min(2, value)
    if key in {"topk_group", "num_limited_groups"}:
        return 1
    if key in _WINDOWS or key in _CHUNKS:
        return WINDOW
    if key in {"n_groups", "mamba_n_groups", "mamba_ngroups", "o_groups"}:
        return min(2, value)
    if key in NO_EXTRA_HEADS:
        return 0
    if key == "qk_rope_head_dim":
        return min(64, value)
    return value


def _entry(key: str, item: Any, config: Config, layers: int) -> Any:
    """Return one layer's entry: a size or a count shrinks as it would for all layers."""
    sized = key in _FIXED or key in _TOP_K or key in _EXPERTS
    return _value(key, item, config, layers) if sized and isinstance(item, (int, float)) else item


def _rope(rope: Config, config: Config) -> Config:
    half = int(_head_size(config) * (rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1) / 2)
    small: Config = {}
    for key, value in rope.items():
        if isinstance(value, dict):
            small[key] = _rope(value, config)
        elif key in {"short_factor", "long_factor"}:
            small[key] = value[:half]
        elif key == "mrope_section":
            small[key] = _sections(value, half)
        else:
            small[key] = value
    return small


def _sections(sections: list[int], total: int) -> list[int]:
    """Split ``total`` frequencies over time, height and width as nearly equal as published."""
    scaled = [part * total // sum(sections) for part in sections]
    return [scaled[0] + total - sum(scaled), *scaled[1:]]


def _head_size(config: Config) -> int:
    """64 or 128: sizes that real kernels accept; two different ones where a model has two."""
    if config.get("kv_lora_rank"):
        return min(SMALL_HEAD, int(config.get("qk_rope_head_dim") or SMALL_HEAD))
    published, heads = config.get("head_dim"), config.get("num_attention_heads")
    if not isinstance(published, int) or (isinstance(heads, int) and published * heads == config.get("hidden_size")):
        return HIDDEN // HEADS  # some runtimes compute it, which is right where it makes up the hidden size
    return LARGE_HEAD if published >= LARGE_HEAD and not config.get("global_head_dim") else SMALL_HEAD


def _consistent(small: Config, published: Config) -> Config:
    heads, key_values = published.get("num_attention_heads"), published.get("num_key_value_heads")
    if isinstance(heads, int) and isinstance(key_values, int):
        same = key_values == heads or published.get("kv_lora_rank")
        small["num_key_value_heads"] = HEADS if same else min(2, key_values)
    if published.get("num_global_key_value_heads"):
        small["num_global_key_value_heads"] = 1  # fewer than the local ones, as published
    if isinstance(published.get("head_dim"), int):
        small["head_dim"] = _head_size(published)
    if isinstance(published.get("qk_head_dim"), int):
        small["qk_head_dim"] = small["qk_nope_head_dim"] + small["qk_rope_head_dim"]
    if published.get("global_head_dim"):
        small["global_head_dim"] = LARGE_HEAD
    if published.get("linear_num_key_heads"):
        same = published["linear_num_key_heads"] == published.get("linear_num_value_heads")
        small["linear_num_key_heads"], small["linear_num_value_heads"] = (4, 4) if same else (2, 4)
    if published.get("intermediate_size"):
        apart = any(published.get(key) for key in ("moe_intermediate_size", "intermediate_size_mlp"))
        mixture = any(_many(published.get(key)) for key in _EXPERTS)
        # a dense model of a family with experts has one size under both names, and runtimes read the one or the other
        shared = not mixture and published.get("shared_intermediate_size") == published["intermediate_size"]
        halved = (mixture and not apart) or shared or published.get("intermediate_size_mlp")
        small["intermediate_size"] = 256 if halved else 512
    if isinstance(published.get("mamba_dt_rank"), int):
        small["mamba_dt_rank"] = 16
    if isinstance(published.get("moe_layer_end_index"), int):
        small["moe_layer_end_index"] = small["num_hidden_layers"] - 1
    return small


def _many(experts: Any) -> bool:
    return isinstance(experts, list) or (isinstance(experts, int) and experts > 1)


def _merged(config: Config, needs: Config) -> Config:
    merged = dict(config)
    for key, value in needs.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged
