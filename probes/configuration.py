"""Compares what a runtime or a converted file makes of a model's config.json with the file itself, key by key; pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing import TypeGuard

# says nothing about what the model computes
NOISE = frozenset(
    """_attn_implementation _name_or_path add_cross_attention architectures attn_implementation auto_map
    bad_words_ids begin_suppress_tokens cache_implementation chunk_size_feed_forward cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample dtype early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id id2label is_decoder
    is_encoder_decoder label2id length_penalty max_length min_length model_type no_repeat_ngram_size num_beam_groups
    num_beams num_return_sequences output_attentions output_hidden_states output_scores prefix pretraining_tp
    problem_type pruned_heads quantization_config remove_invalid_values repetition_penalty return_dict
    return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tokenizer_class top_p torch_dtype torchscript transformers_version typical_p use_bfloat16
    use_cache""".split()  # noqa: SIM905 -- sixty quoted words are harder to read than sixty words
)
ROPE = frozenset({"rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq", "partial_rotary_factor"})
# a runtime that never reads one of these computes something else than the model does
SEMANTIC = frozenset(
    """attention_bias attention_chunk_size attention_multiplier attn_logit_softcapping clip_qkv embedding_multiplier
    final_logit_softcapping first_k_dense_replace global_head_dim head_dim hidden_act hidden_activation index_topk
    layer_norm_eps layer_norm_epsilon layer_types logit_scale logits_scaling n_group norm_topk_prob num_experts_per_tok
    num_global_key_value_heads num_key_value_heads num_kv_shared_layers query_pre_attn_scalar residual_multiplier
    rms_norm_eps routed_scaling_factor sliding_window sliding_window_pattern top_k_experts topk_group""".split()  # noqa: SIM905 -- as above
)
# other words for the same, and ways to lay positions out; none of them scales positions
_ROPE_TYPES = {"su": "longrope", "mrope": "default", "axial": "default", None: "default"}
# their sliding layers have a base of the architecture's where the file writes none
_LOCAL_BASE = ("gemma", "t5gemma", "vaultgemma", "modernbert")
# names of one thing: a runtime may read any of them, where the file writes one value under several
_SYNONYMS = (
    frozenset({"hidden_act", "hidden_activation", "activation_function"}),
    frozenset({"num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_topk"}),
    frozenset({"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_eps"}),
    frozenset({"n_group", "num_expert_group", "num_expert_groups"}),
    frozenset({"topk_group", "num_limited_groups"}),
    frozenset({"norm_topk_prob", "route_norm", "moe_renormalize"}),
    frozenset({"routed_scaling_factor", "route_scale"}),
    frozenset({"sliding_window", "sliding_window_size"}),
    frozenset({"first_k_dense_replace", "num_dense_layers"}),
    frozenset({"num_key_value_heads", "n_kv_heads", "num_kv_heads"}),
    frozenset({"attention_bias", "use_bias", "qkv_bias"}),
)
_FLOAT = "__float__"  # transformers 5 writes what JSON has no number for as an object with this key
# what the file calls it, after the architecture's name -> what configurations call it, the first that is there
_METADATA = (
    ("context_length", ("max_position_embeddings", "n_positions", "max_seq_len")),
    ("embedding_length", ("hidden_size", "n_embd", "d_model")),
    ("attention.layer_norm_rms_epsilon", ("rms_norm_eps", "norm_eps", "layer_norm_epsilon", "norm_epsilon")),
    ("attention.layer_norm_epsilon", ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")),
    ("attention.sliding_window", ("sliding_window",)),
    ("expert_used_count", ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")),
    ("attn_logit_softcapping", ("attn_logit_softcapping",)),
    ("final_logit_softcapping", ("final_logit_softcapping",)),
    ("expert_weights_scale", ("routed_scaling_factor",)),
    ("attention.indexer.top_k", ("index_topk",)),
)
_FLOAT32 = 1e-6  # numbers are kept in float32, which has seven digits


class Effective(NamedTuple):
    """What the runtime made of a configuration: values by key, the names its code reads, and nested parts.

    ``defaults`` are the keys that the architecture's own class documents.
    """

    values: dict[str, Any]
    read: frozenset[str]
    parts: dict[str, Effective]
    defaults: Mapping[str, Any] = MappingProxyType({})


class Difference(NamedTuple):
    """``wrong`` maps a key to [written, effective]; ``unread`` keys are listed for information."""

    wrong: dict[str, list[Any]]
    unread: list[str]
    compared: int


def difference(written: dict[str, Any], effective: Effective, prefix: str = "") -> Difference:
    wrong, compared = _rope_difference(written, effective, prefix)
    unread: list[str] = []
    for key, value in sorted(written.items()):
        name = prefix + key
        if key in NOISE or key in ROPE or value is None:
            continue
        if isinstance(value, dict) and key in effective.parts:
            nested = difference(value, effective.parts[key], name + ".")
            wrong.update(nested.wrong)
            unread += nested.unread
            compared += nested.compared
        elif key not in effective.read:
            if key in SEMANTIC and not _neutral(value) and not _read_as_another(key, written, effective):
                wrong[name] = [value, "never read by the runtime"]
            else:
                unread.append(name)
        elif key in effective.values:
            compared += 1
            if not _agrees(key, value, effective.values[key], written):
                wrong[name] = [value, effective.values[key]]
        elif key == "sliding_window_pattern" and not _pattern_kept(value, effective.values.get("layer_types")):
            wrong[name] = [value, effective.values["layer_types"]]
    return Difference(wrong, unread, compared)


def _read_as_another(key: str, written: dict[str, Any], effective: Effective) -> bool:
    """Return whether the runtime reads the same value under another name, or as the layers that it makes."""
    if key == "sliding_window_pattern" and written.get("layer_types") and "layer_types" in effective.read:
        return True
    names = next((names for names in _SYNONYMS if key in names), frozenset())
    return any(
        name != key and name in effective.read and name in written and equal(written[key], written[name])
        for name in names
    )


def _neutral(value: Any) -> bool:
    return value in (None, False, 0, 1, [], {}, "default", "silu")


def _agrees(key: str, written: Any, effective: Any, siblings: dict[str, Any]) -> bool:
    if equal(written, effective):
        return True
    if key in {"sliding_window", "max_window_layers"} and siblings.get("use_sliding_window") is False:
        return True  # the model says itself that the window is off
    if key == "sliding_window" and siblings.get("use_bidirectional_attention") and isinstance(written, int):
        return bool(equal(written // 2 + 1, effective))  # half of the window on either side
    if key.endswith("token_id"):
        ids, others = (list(value) if isinstance(value, (list, tuple)) else [value] for value in (written, effective))
        return ids == others
    if isinstance(effective, (list, tuple)) and isinstance(written, (int, float)):
        return all(equal(written, item) for item in effective)  # one value for all layers, written out layer by layer
    return isinstance(written, list) and ("layer" in key or "block" in key) and renamed(written, effective)


def renamed(written: Any, effective: Any) -> bool:
    """Return whether two lists of words are equal up to a one-to-one renaming, such as attention for full_attention."""
    if not isinstance(effective, (list, tuple)) or len(written) != len(effective):
        return False
    words = list(zip(map(str, written), map(str, effective)))
    pairs = set(words)
    is_words = all(isinstance(item, str) for item in written)
    return is_words and len(pairs) == len(set(written)) == len({new for _, new in pairs})


def equal(written: Any, effective: Any) -> bool:
    """Compare values as configurations mean them: 1 is 1.0, a tuple is a list, None leaves it to the runtime."""
    written, effective = _number_of(written), _number_of(effective)
    if written is None or written is effective:
        return True
    if isinstance(written, bool) or isinstance(effective, bool):
        return bool(written) == effective if isinstance(effective, (bool, int)) else False
    if isinstance(written, (int, float)) and isinstance(effective, (int, float)):
        return math.isclose(written, effective, rel_tol=1e-9)
    if isinstance(written, (list, tuple)):
        same_kind = isinstance(effective, (list, tuple)) and len(written) == len(effective)
        return same_kind and all(equal(*pair) for pair in zip(written, effective))
    if isinstance(written, dict):
        ropes = {str(key): value for key, value in effective.items()} if isinstance(effective, dict) else None
        return ropes is not None and all(equal(value, ropes.get(str(key))) for key, value in written.items())
    return str(written) == str(effective)


def _number_of(value: Any) -> Any:
    """Return the number that transformers 5 writes as an object, anything else as it is."""
    if not isinstance(value, dict) or set(value) != {_FLOAT}:
        return value
    try:
        return float(value[_FLOAT])
    except (TypeError, ValueError):
        return value


def _pattern_kept(period: Any, layer_types: Any) -> bool:
    """Check Gemma's older spelling: every period-th layer attends to everything, the others to a window."""
    if not isinstance(period, int) or period < 1 or not layer_types:
        return True
    wanted = [(position + 1) % period == 0 for position in range(len(layer_types))]
    return wanted == [kind == "full_attention" for kind in layer_types]


def _rope_difference(written: dict[str, Any], effective: Effective, prefix: str) -> tuple[dict[str, list[Any]], int]:
    ropes = rope(effective.values, by_parameters="rope_parameters" in effective.read)
    kinds = rope(written)
    wrong: dict[str, list[Any]] = {}
    compared = 0
    for kind, entry in kinds.items():
        for other, counterpart in _counterparts(kind, ropes, kinds, str(written.get("model_type"))):
            for name, value in entry.items():
                # what scales positions is for the layers that see far, the base for all
                elsewhere = other == "sliding_attention" and not kind and name != "rope_theta"
                if elsewhere or (name not in counterpart and _neutral(value)):
                    continue
                compared += 1
                if not equal(value, counterpart.get(name)):
                    named = "".join(f"{part}." for part in ("rope", other) if part)
                    wrong[prefix + named + name] = [value, counterpart.get(name)]
    return wrong, compared


def _counterparts(
    kind: str, ropes: dict[str, dict[str, Any]], written: Collection[str], model_type: str
) -> list[tuple[str, dict[str, Any]]]:
    """Return, by kind of layer, what the runtime uses where the file writes for ``kind``.

    What the file writes for all layers holds for each kind that it does not write on its own. An architecture without
    rotary positions may still publish a theta, and has no counterpart.
    """
    if kind:
        return [(kind, counterpart)] if (counterpart := ropes.get(kind) or ropes.get("")) else []
    local = "sliding_attention" if model_type.startswith(_LOCAL_BASE) else None
    rest = {other: entry for other, entry in ropes.items() if other not in written and other != local and entry}
    return [(other, entry) for other, entry in rest.items() if other] or ([("", ropes[""])] if ropes.get("") else [])


def rope(values: dict[str, Any], *, by_parameters: bool = True) -> dict[str, dict[str, Any]]:
    """Return rotary parameters by layer kind ("" for all) out of the newer or the older spelling."""
    parameters = values.get("rope_parameters") if by_parameters else None
    if isinstance(parameters, dict) and parameters:
        layered = all(isinstance(entry, dict) or entry is None for entry in parameters.values())
        entries = {kind: dict(entry or {}) for kind, entry in parameters.items()} if layered else {"": dict(parameters)}
    else:
        scaling = values.get("rope_scaling")
        entries = {"": dict(scaling) if isinstance(scaling, dict) else {}}
        if values.get("rope_local_base_freq") is not None:
            entries["sliding_attention"] = {"rope_theta": values["rope_local_base_freq"]}
    for kind, entry in entries.items():
        older = entry.pop("type", None)
        if "rope_type" in entry or older is not None:
            written = entry.get("rope_type", older)
            entry["rope_type"] = _ROPE_TYPES.get(written, written)
        if kind != "sliding_attention":
            entry.setdefault("rope_theta", values.get("rope_theta"))
            entry.setdefault("partial_rotary_factor", values.get("partial_rotary_factor"))
        entries[kind] = {name: value for name, value in entry.items() if value is not None}
    return {kind: entry for kind, entry in entries.items() if entry}


def metadata_difference(written: dict[str, Any], metadata: dict[str, Any]) -> Difference:
    """Compare single numbers under names that mean the same in every architecture; lists by layer are not compared."""
    architecture = metadata.get("general.architecture")
    wrong: dict[str, list[Any]] = {}
    compared = 0
    for key, names in _METADATA:
        name = next((name for name in names if _number(written.get(name))), None)
        value = metadata.get(f"{architecture}.{key}")
        if name is None or not _number(value):
            continue
        compared += 1
        # models without positions of their own are given any length
        if not _equal_float32(written[name], value) and not (key == "context_length" and value > written[name]):
            wrong[name] = [written[name], value]
    kinds = rope(written)
    # of the full attention where layers differ
    theta = (kinds.get("full_attention") or kinds.get("") or {}).get("rope_theta")
    base = metadata.get(f"{architecture}.rope.freq_base")
    if theta is not None and _number(base):
        compared += 1
        if not _equal_float32(theta, base):
            wrong["rope_theta"] = [theta, base]
    return Difference(wrong, [], compared)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal_float32(written: float, other: float) -> bool:
    return abs(written - other) <= _FLOAT32 * max(abs(written), abs(other))
