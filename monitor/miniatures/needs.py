"""What single architectures need beyond the generic shrink, by model type; pure data."""

from __future__ import annotations

from typing import Any, Final

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
    # defaults that the first release's own modelling code cannot work with
    "nemotron": {"num_key_value_heads": 2},
    "ministral": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"], "num_hidden_layers": 4},
}
