"""What single architectures need beyond the generic shrink, by model type; pure data."""

from __future__ import annotations

from typing import Any, Final

# types whose code is only on the hub, and which transformers has under another name
SAME_AS: Final = {"kimi_k2": "deepseek_v3"}

NEEDS: Final[dict[str, dict[str, Any]]] = {
    # the published file leaves the text defaults out: a vocabulary of 262208 and a full layer after five sliding ones
    "gemma3_text": {"vocab_size": 512, "num_hidden_layers": 6},
    # transformers reads its own names and ignores the publisher's "vt_..." ones, whose sizes are its defaults
    "kimi_k25": {
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        "projection_hidden_size": 128,
    },
    # the projector's widths stand outside both towers: a merged patch is four times the tower's width. vLLM reads them
    # in the tower, by names of its own, whose defaults are the published widths
    "muse_glimmer": {
        "vision_config": {"output_dim": 512, "adapter_dim": 256},
        "out_hidden_size": 512,
        "projector_hidden_size": 256,
    },
    # no layer of the first two compresses; the hashed, the sparse and the heavily compressed kinds come after them
    "deepseek_v4": {"num_hidden_layers": 5},
    # the first releases count experts by a name of their own, whose default is the published number
    "deepseek_v32": {"num_local_experts": 8},
    "lfm2": {
        "block_dim": 256,
        "block_ff_dim": 768,
        "intermediate_size": 768,
        "conv_dim_out": 256,
        "num_heads": 4,
        "full_attn_idxs": [2],
        "num_hidden_layers": 4,
    },
    # 5.2.0 has three dense layers whatever the configuration says, and the published number is three
    "glm_moe_dsa": {"first_k_dense_replace": 3, "num_hidden_layers": 5},
    # vLLM's cache has blocks of 128 tokens on a CPU, a chunk is made of whole blocks, and its table of rotations has
    # a row for each position, which for the published ten million are 5 GB
    "llama4_text": {
        "no_rope_layers": [1, 1, 1, 0],
        "num_hidden_layers": 4,
        "attention_chunk_size": 128,
        "max_position_embeddings": 262144,
    },
    "laguna": {"num_attention_heads_per_layer": [4, 8]},
    # shorter periods than published, with every kind of layer still there
    "jamba": {"attn_layer_period": 4, "attn_layer_offset": 2, "num_hidden_layers": 4},
    "granitemoehybrid": {"layer_types": ["mamba", "mamba", "attention", "mamba"], "num_hidden_layers": 4},
    "kimi_linear": {"linear_head_dim": 64, "linear_num_heads": 4},
    # without these the layers are all of one kind
    "bamba": {"attn_layer_indices": [1], "num_hidden_layers": 3},
    "recurrent_gemma": {"num_hidden_layers": 3, "head_dim": 64, "num_key_value_heads": 1},
    "longcat_flash": {
        "num_layers": 2,
        "num_hidden_layers": 4,
        "ffn_hidden_size": 512,
        "expert_ffn_hidden_size": 256,
        "zero_expert_num": 2,
    },
    # llama.cpp takes the shared experts' size for this over the number of key and value heads, which the published are
    "ernie4_5_moe": {"intermediate_size": 1024},
    # published as long as all the model was made for: a smaller window would break what no text reaches
    "phimoe": {"sliding_window": 131072},
    # its heads make up the hidden size exactly, as published, and 4.47.1 knows no other size
    "glm": {"head_dim": 64},
    # its heads have to make up the hidden size exactly, those of its state space twice
    "helium": {"head_dim": 64},
    "mamba2": {"num_heads": 8, "head_dim": 64, "n_groups": 2},
    "deepseek_v2": {"num_experts_per_tok": 3},
    "gemma3n_text": {
        "num_hidden_layers": 10,
        "hidden_size_per_layer_input": 256,  # which llama.cpp knows by heart
        "num_kv_shared_layers": 5,
        "intermediate_size": [512] * 10,
        "layer_types": [*["sliding_attention"] * 4, "full_attention"] * 2,
        "activation_sparsity_pattern": [0.95, *[0.0] * 9],
    },
    # defaults without a single expert
    "dots1": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 3,
        "first_k_dense_replace": 1,
        "num_hidden_layers": 3,
        "layer_types": ["full_attention", "full_attention", "full_attention"],
    },
    "hunyuan_v1_moe": {"num_experts": 4, "head_dim": 128, "intermediate_size": 256},
    # defaults that the first release's own modelling code cannot work with
    "nemotron": {"num_key_value_heads": 2},
    "ministral": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"], "num_hidden_layers": 4},
}
