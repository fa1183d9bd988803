"""How many parameters a configuration makes, estimated before anything is instantiated; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.miniatures.depth import depth_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_PARAMETERS = 128_000_000  # the largest miniature of the project has a third of that
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "vt_hidden_size", "decoder_dim")
_VOCABULARIES = ("vocab_size", "embedding_size", "vocab_size_per_layer_input")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")


def too_large(config: Mapping[str, Any]) -> str:
    """Return why a shrunk configuration is not instantiated, "" where it is small."""
    count = sum(_parameters(section) for section in _sections(config))
    if count <= MOST_PARAMETERS:
        return ""
    return f"shrinking failed: it would have about {count / 1e6:.0f} million parameters"


def _sections(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from _sections(value)


def _parameters(section: Mapping[str, Any]) -> int:
    """Return roughly how many parameters a section has: embeddings, attention and (routed) feed-forward layers."""
    width = _largest(section, _WIDTHS)
    inner = max((_number(value) for key, value in section.items() if "intermediate" in key or "ffn" in key), default=0)
    inner = max(inner, _number(section.get("mlp_hidden_size")), 2 * width)
    layer = 4 * width * width + 3 * width * inner * max(1, _largest(section, _EXPERTS))
    return width * _largest(section, _VOCABULARIES) + max(1, depth_of(section)) * layer


def _largest(section: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    return max((_number(section.get(key)) for key in keys), default=0)


def _number(value: Any) -> int:
    values = value if isinstance(value, list) else [value]
    return max((item for item in values if isinstance(item, int) and not isinstance(item, bool)), default=0)
