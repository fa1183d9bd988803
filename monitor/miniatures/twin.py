"""The twin of a configuration: other values where a runtime could fall back to a default without a word; pure."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

_BASES = frozenset(
    {"rope_local_base_freq", "rotary_emb_base", "default_theta", "global_rope_theta", "local_rope_theta"}
)


def twin_of(config: Config) -> Config:
    """Return the configuration with another rope base, other epsilons and soft caps, everywhere in it.

    The published values decide a model's verdict. The twin shows which of them a runtime never reads: often it has the
    published value as its default, and a file with another value makes another model than it says.
    """
    return {key: _other(key, value) for key, value in config.items()}


def _other(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return twin_of(value)
    if isinstance(value, list):
        return [_other(key, item) if isinstance(item, float) else item for item in value]
    return value if isinstance(value, bool) or not isinstance(value, (int, float)) else _number(key, value)


def _number(key: str, value: float) -> float:
    if key.endswith("rope_theta") or key in _BASES:
        return type(value)(value * 1.25)
    if key.endswith(("_eps", "_epsilon")) and isinstance(value, float):
        return float(f"{value * 3:.6g}")
    if "softcap" in key or key == "query_pre_attn_scalar":
        return type(value)(value * 0.8)
    return value
