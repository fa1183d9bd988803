"""The keys of config.json that are expected to change an answer, each with a change of it and a reason; data."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """Names of one thing. ``decides``: a value without effect that is not the class's default is not used."""

    names: frozenset[str]
    change: tuple[str, float]
    decides: bool
    reason: str


def _row(names: str, change: tuple[str, float], reason: str, *, decides: bool = True) -> Row:
    return Row(frozenset(names.split()), change, decides, reason)


# a change so large that rounding cannot hide it, and that leaves every shape as it is
TIMES, TO, LESS, NOT, WORD = "times", "to", "one less", "not", "word"
ROPE_BASE = _row("rope_theta rotary_emb_base global_rope_theta layer_rope_theta", (TIMES, 8), decides=False,
                 reason="the base of all rotary positions; a model without them may publish one by habit")  # fmt: skip
ROTATED = _row("partial_rotary_factor rotary_pct rotary_dim", (TIMES, 0.5), decides=False,
               reason="how much of a head is rotated; a part of the base above")  # fmt: skip
WINDOW = _row("sliding_window sliding_window_size attention_window_size", (TO, 5),
              reason="a prompt that is longer is cut off; no code can know the size of a miniature's")  # fmt: skip
CHUNK = _row("attention_chunk_size", (TO, 5), reason="as a window, in other layers")
EXPERTS = _row("num_experts_per_tok num_experts_per_token experts_per_token top_k_experts moe_topk moe_k", (LESS, 0),
               reason="one expert fewer answers otherwise; without experts it means nothing")  # fmt: skip
TABLE = (
    ROPE_BASE,
    ROTATED,
    WINDOW,
    CHUNK,
    EXPERTS,
    _row("rope_local_base_freq local_rope_theta swa_rope_theta", (TIMES, 8), decides=False,
         reason="the base of layers with a window"),
    _row("rms_norm_eps layer_norm_eps layer_norm_epsilon layernorm_epsilon norm_eps norm_epsilon", (TO, 0.5),
         reason="added to every variance: a half is of its own size"),
    _row("attention_multiplier query_pre_attn_scalar", (TIMES, 0.25), reason="scales what the softmax sees"),
    _row("attn_logit_softcapping", (TO, 0.05), reason="flattens attention"),
    _row("final_logit_softcapping logits_soft_cap", (TO, 0.05), reason="flattens the answer"),
    _row("logit_scale logits_scaling output_multiplier lm_head_multiplier", (TIMES, 4), reason="scales the answer"),
    _row("embedding_multiplier scale_emb", (TIMES, 4), reason="scales the embeddings, before residuals are added"),
    _row("residual_multiplier scale_depth", (TIMES, 4), reason="weighs the layers against the embeddings"),
    _row("routed_scaling_factor router_scaling_factor route_scale moe_routed_scaling_factor", (TIMES, 4),
         reason="weighs the experts against the rest"),
    _row("clip_qkv", (TO, 0.01), reason="cuts off queries, keys and values"),
    _row("swiglu_limit", (TO, 0.05), reason="cuts off activations"),
    _row("swiglu_alpha", (TIMES, 4), reason="bends the activation"),
    _row("norm_topk_prob route_norm moe_renormalize", (NOT, 0), decides=False,
         reason="weights that add up to one anyway, or a router that always does it"),
    _row("n_group num_expert_group num_expert_groups", (TIMES, 2), decides=False,
         reason="one group may hold all experts"),
    _row("hidden_act hidden_activation mlp_hidden_act activation_function", (WORD, 0), decides=False,
         reason="some architectures have an activation of their own, whatever the file says"),
    _row("no_rope_layers", (NOT, 0), decides=False, reason="other files say the same by layer_types"),
)  # fmt: skip
# of scaled positions: what it does depends on the kind of scaling, on the head's size and on the base
SCALING = tuple(
    _row(names, change, decides=False, reason="a part of scaled positions")
    for names, change in (
        ("factor", (TIMES, 4)),
        ("low_freq_factor", (TIMES, 3)),
        ("high_freq_factor", (TIMES, 4)),
        ("beta_fast", (TIMES, 0.25)),
        ("beta_slow", (TIMES, 4)),
        ("attention_factor", (TIMES, 2)),
        ("mscale", (TIMES, 0.5)),
        ("mscale_all_dim", (TIMES, 0.5)),
        ("short_factor", (TIMES, 2)),
        ("original_max_position_embeddings", (TO, 8)),
    )
)
ROWS = (*TABLE, *SCALING)
UNSCALED = frozenset({"default", "mrope"})
SCALED = frozenset({"linear", "dynamic", "yarn", "longrope", "su", "llama3"})
ROPE_SECTIONS = ("rope_scaling", "rope_parameters")
OTHER_SECTIONS = ("vision", "audio", "image", "speech", "talker", "code2wav", "quantization", "projector")
# says something to training or to generation, and nothing about the answer to a token
NO_ANSWER = ("dropout", "pdrop", "init", "aux_loss", "token", "mtp", "chunk", "output_", "tie_", "jitter", "kernel",
              "ep_size", "length", "use_cache")  # fmt: skip
TRAINING = ("dropout", "_pdrop", "initializer_range", "aux_loss_coef", "aux_loss_alpha")
