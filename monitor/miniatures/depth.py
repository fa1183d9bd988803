"""How many layers show every kind of layer of a model, and its lists of layers cut to so many; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Config = dict[str, Any]

MAX_LAYERS = 12
DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "encoder_layers", "vt_num_hidden_layers")
_KINDS = ("layers_block_type", "layer_types", "block_types")  # a model without a number of layers names their kinds
_PERIODS = (
    "full_attention_interval",
    "global_attn_every_n_layers",
    "no_rope_layer_interval",
    "interleave_moe_layer_step",
    "attn_layer_period",
    "expert_layer_period",
    "sliding_window_pattern",
    "layer_group_size",
)
_EXTRA_HEADS = 3  # a list by layer may go on with the heads that predict further tokens
# which layers are of a kind, by their numbers; the images of some vision towers are taken from layers by number, too
_NUMBERS = re.compile(r"(_layers|_idxs|_indices|_indexes|_layer_ids)$")
_NO_NUMBERS = frozenset({"deepstack_visual_indexes", "max_window_layers"})


def depth_of(config: Mapping[str, Any]) -> int:
    """Return the published number of layers, 0 where the configuration names none."""
    named = (config.get(key) for key in DEPTHS)
    depth = next((value for value in named if isinstance(value, int) and not isinstance(value, bool)), 0)
    return depth or max((len(config[key]) for key in _KINDS if isinstance(config.get(key), list)), default=0)


def layers_of(config: Mapping[str, Any], needs: Mapping[str, Any]) -> int:
    """Return how many layers show every kind of layer in the published order at least once.

    ``needs`` may name the number: every list of the configuration is then cut to that, and to no other.
    """
    if isinstance(needs.get("num_hidden_layers"), int):
        return int(needs["num_hidden_layers"])
    depth = depth_of(config)
    sections = [config, *(value for value in config.values() if isinstance(value, dict))]
    kinds = [value for section in sections for value in section.values() if by_layer(value, depth)]
    kinds += [list(config["hybrid_override_pattern"])] if config.get("hybrid_override_pattern") else []
    periods = [config[key] for key in _PERIODS if isinstance(config.get(key), int)]
    rows = [[repr(kind) for kind in row] for row in kinds]
    first_seen = [max(row.index(kind) for kind in set(row)) + 1 for row in rows]
    layers: int = max([2, *first_seen, *periods, *_layers_by_number(config, depth)])
    if any(config.get(key) for key in ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")):
        layers = max(layers, 3)
    if config.get("num_kv_shared_layers"):
        layers *= 2  # one period that keeps its own keys and values, one that shares them
    return min(layers, MAX_LAYERS)


def by_layer(value: Any, depth: int) -> bool:
    """Return whether a value is a list with an entry for each layer."""
    return isinstance(value, list) and depth > 1 and depth <= len(value) <= depth + _EXTRA_HEADS


def lists_cut(section: Mapping[str, Any], depth: int, layers: int) -> dict[str, list[Any]]:
    """Return the lists inside a part of a configuration that speak of the layers of the whole, cut to those left."""
    by_place = {key: value[:layers] for key, value in section.items() if by_layer(value, depth)}
    return by_place | numbers_cut(section, depth, layers)


def numbers_cut(section: Mapping[str, Any], depth: int, layers: int) -> dict[str, list[int]]:
    """Return the section's lists of layer numbers without those that are gone; the last layer where all would be."""
    lists = _numbers(section, depth)
    first = _first_number(lists, depth)
    last = layers - 1 + first
    return {key: [number for number in row if number <= last] or [last] for key, row in lists.items()}


def _layers_by_number(config: Mapping[str, Any], depth: int) -> list[int]:
    """Return the places at which each list of layer numbers first names a layer, and first leaves one out."""
    places: list[int] = []
    for section in (config, *(value for value in config.values() if isinstance(value, dict))):
        lists = _numbers(section, depth)
        first = _first_number(lists, depth)
        for row in lists.values():
            left_out = next(number for number in range(first, len(row) + first + 1) if number not in row)
            places += [row[0] - first + 1, left_out - first + 1]
    return places


def _numbers(section: Mapping[str, Any], depth: int) -> dict[str, list[int]]:
    return {key: value for key, value in section.items() if _NUMBERS.search(key) and _are_numbers(key, value, depth)}


def _are_numbers(key: str, value: Any, depth: int) -> bool:
    if key in _NO_NUMBERS or not isinstance(value, list) or not 0 < len(value) < depth:
        return False
    numbers = [number for number in value if isinstance(number, int) and not isinstance(number, bool)]
    return len(numbers) == len(value) and numbers == sorted(set(numbers)) and numbers[0] >= 0 and numbers[-1] <= depth


def _first_number(lists: Mapping[str, list[int]], depth: int) -> int:
    """Return the first layer's number: 1 where one list names a layer of the number of all."""
    return int(any(row[-1] == depth for row in lists.values()) and not any(row[0] == 0 for row in lists.values()))
