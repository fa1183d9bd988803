"""How the tensors of a miniature are filled: logits not flat, nothing explodes, every tensor matters; pure."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.miniatures.manifest import Tensor

# Publishers keep these in float32; everything else of a checkpoint is bfloat16.
_FLOAT32 = re.compile(r"(correction_bias|A_log)$")
_EMBEDDING = re.compile(r"(embed_tokens|embed_in|wte|embedding|embeddings|lm_head|embed_out|output)\.weight$")
_AS_MEASURED = re.compile(r"(A_log|dt_bias|dt_proj\.bias|time_step|inv_freq|recurrent_param|\.decay|slope_rate)")
_CONVOLUTION = re.compile(r"conv")
_RANDOM_ENOUGH = 1e-4
_SANE = 100.0


def scaled(tensors: Iterable[Tensor], *, gain: float = 1.0) -> list[Tensor]:
    """Replace each tensor's measured initial mean and spread; ``gain`` is for models that scale their logits down."""
    return [_scaled(tensor, gain) for tensor in tensors]


def _scaled(tensor: Tensor, gain: float) -> Tensor:
    if tensor.name.endswith("tid2eid"):  # which experts a token goes to: each of four in turn
        return replace(tensor, std=3.0)
    if not tensor.dtype.startswith(("F", "BF")):
        return tensor
    dtype = "F32" if _FLOAT32.search(tensor.name) else "BF16"
    mean, std = _spread(tensor, gain)
    return replace(tensor, dtype=dtype, mean=float(f"{mean:.3g}"), std=float(f"{std:.3g}"))


def _spread(tensor: Tensor, gain: float) -> tuple[float, float]:
    name, shape = tensor.name, tensor.shape
    mean = tensor.mean if math.isfinite(tensor.mean) else 0.0
    std = tensor.std if math.isfinite(tensor.std) else 0.02
    if name.endswith(("put_max", "put_min")):  # bounds of clipped layers, infinite before training
        return 10.0 if name.endswith("max") else -10.0, 0.0
    if abs(mean) > _SANE:  # uninitialised memory
        return 0.0, 0.02
    if _AS_MEASURED.search(name):
        return mean, std
    if len(shape) <= 1 or shape[-1] == 1:
        return _vector(name, mean, std)
    return 0.0, _matrix(name, shape, gain)


def _matrix(name: str, shape: tuple[int, ...], gain: float) -> float:
    """Keep the size of what passes through: one over the root of how many values each output adds up."""
    if _EMBEDDING.search(name):
        return 2 * gain / math.sqrt(shape[-1])
    if _CONVOLUTION.search(name):
        return 1 / math.sqrt(math.prod(shape[1:]))
    # stacked experts are published as (experts, in, out), everything else as (..., out, in)
    stacked = len(shape) > len(("out", "in")) and name.endswith(("gate_up_proj", "down_proj"))
    return 1 / math.sqrt(shape[-2] if stacked else shape[-1])


def _vector(name: str, mean: float, std: float) -> tuple[float, float]:
    if "sink" in name:
        return 0.0, 0.5
    if name.endswith("bias"):
        return (mean if std < _RANDOM_ENOUGH else 0.0), 0.02
    if std < _RANDOM_ENOUGH:  # a norm's weight, or a scale: constant at the start
        return mean, 0.1
    return mean, std
