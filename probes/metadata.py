"""Compares what a converted file says of its model with the model's own config.json; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from probes.configuration import rope

if TYPE_CHECKING:
    from typing import TypeGuard

# what the file calls it, after the architecture's name -> what configurations call it, the first that is there
_NAMES = (
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


class Compared(NamedTuple):
    """``wrong`` maps a key of the configuration to [own, the file's]."""

    wrong: dict[str, list[Any]]
    compared: int


def difference(written: dict[str, Any], said: dict[str, Any]) -> Compared:
    """Compare single numbers under names that mean the same in every architecture; lists by layer are not compared."""
    architecture = said.get("general.architecture")
    wrong: dict[str, list[Any]] = {}
    compared = 0
    for key, names in _NAMES:
        name = next((name for name in names if _number(written.get(name))), None)
        value = said.get(f"{architecture}.{key}")
        if name is None or not _number(value):
            continue
        compared += 1
        # models without positions of their own are given any length
        if not _equal(written[name], value) and not (key == "context_length" and value > written[name]):
            wrong[name] = [written[name], value]
    theta, base = _theta(written), said.get(f"{architecture}.rope.freq_base")
    if theta is not None and _number(base):
        compared += 1
        if not _equal(theta, base):
            wrong["rope_theta"] = [theta, base]
    return Compared(wrong, compared)


def _theta(written: dict[str, Any]) -> Any:
    """Return the base of the rotary positions, of the full attention where layers differ."""
    kinds = rope(written)
    return (kinds.get("full_attention") or kinds.get("") or {}).get("rope_theta")


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(written: float, told: float) -> bool:
    return abs(written - told) <= _FLOAT32 * max(abs(written), abs(told))
