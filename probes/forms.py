"""Writes a miniature in the form in which its model is published, with fewer bits, and a plain twin of its values.

Every scale is a power of two, so each value that the form holds is exact in bfloat16 as well: a runtime that reads the
form as it is meant gives the twin's answer. The layouts are those of the formats' own documentation and code: FP8 with
``weight_scale_inv`` and MXFP4 of transformers, compressed-tensors 0.17, GPTQ (the first checkpoint format), AWQ (gemm),
NVFP4 of NVIDIA's ModelOpt, and BitNet of transformers.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from probes import bits
from probes.bits import Part, part, to_bytes
from probes.checkpoint import Tensor, optional_json, tensors
from probes.runtimes import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Encoded = tuple["dict[str, Part]", Any]  # what the form holds instead of a tensor, and the values that it means
    Encoder = Callable[[str, Any, dict[str, Any]], Encoded]

_WEIGHTS = "model.safetensors"
_KEPT_PLAIN = re.compile(r"embed|lm_head|norm|router|(^|\.)gate\.|\.conv|shared_expert_gate")
_STACKED = re.compile(r".*\.experts\.(gate_up_proj|down_proj)")  # what gpt-oss has in MXFP4
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_NVFP4_BLOCK, _NVFP4_LARGEST, _NVFP4_SMALLEST = 16, 8.0, 2.0**-6  # of the scales of blocks


class Form(NamedTuple):
    """Two folders: ``published`` in the model's own form, ``plain`` with the values that it means."""

    published: Path
    plain: Path
    encoded: list[str]  # names of the plain tensors


def name_of(form: dict[str, Any]) -> str:
    """Return what the form is called."""
    quantization = _quantization(form)
    format_name = quantization.get("format") or quantization.get("quant_algo")
    return f"{quantization.get('quant_method')}{f' ({format_name})' if format_name else ''}"


def write(folder: Path, form: dict[str, Any], scratch: Path) -> Form:
    """Write both folders; ``form`` has what the published config.json has in addition, and what stays plain.

    Raises UnavailableError for a form that is not written.
    """
    quantization = _quantization(form)
    encode = _encoder(quantization)
    written: dict[str, Part] = {}
    plain: dict[str, Part] = {}
    encoded = []
    for name, tensor in sorted(tensors(folder).items()):
        content = tensor.file.read_bytes()[tensor.start : tensor.stop]
        plain[name] = Part(tensor.dtype, tensor.shape, content)
        if not _is_encoded(name, tensor, quantization, form.get("plain") or ()):
            written[name] = plain[name]
            continue
        parts, values = encode(name, bits.numbers(tensor.dtype, content).reshape(tensor.shape), quantization)
        written.update(parts)
        plain[name] = Part(tensor.dtype, tensor.shape, to_bytes(tensor.dtype, values))
        encoded.append(name)
    if not encoded:
        raise UnavailableError("no tensor of the miniature would be published with fewer bits: not measured")
    made = Form(scratch / "published", scratch / "plain", encoded)
    for target, parts in ((made.published, written), (made.plain, plain)):
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json"))
        target.chmod(0o755)  # the subject's own folder may be read-only
        bits.write_safetensors(target / _WEIGHTS, parts)
    config = made.published / "config.json"
    config.chmod(0o644)
    config.write_text(json.dumps(_merged(optional_json(folder, "config.json"), form["config"])), encoding="utf-8")
    return made


def _quantization(form: dict[str, Any]) -> dict[str, Any]:
    """Return the quantization_config, which some models have in the section for text."""
    config = form["config"]
    return dict(config.get("quantization_config") or next(iter(config.values())).get("quantization_config") or {})


def _merged(config: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for key, value in more.items():
        section = config.get(key)
        nested = isinstance(value, dict) and isinstance(section, dict)
        merged[key] = _merged(section, value) if nested and isinstance(section, dict) else value
    return merged


def _encoder(quantization: dict[str, Any]) -> Encoder:
    method = str(quantization.get("quant_method"))
    format_name = str(quantization.get("format") or quantization.get("quant_algo") or "")
    encoders: dict[tuple[str, str], Encoder] = {
        ("fp8", ""): _fp8,
        ("compressed-tensors", "float-quantized"): _float_quantized,
        ("compressed-tensors", "pack-quantized"): _pack_quantized,
        ("compressed-tensors", "mxfp4-pack-quantized"): _mxfp4_packed,
        ("modelopt", "NVFP4"): _nvfp4,
        ("mxfp4", ""): _mxfp4_blocks,
        ("gptq", ""): _gptq,
        ("awq", ""): _awq,
        ("bitnet", ""): _bitnet,
    }
    encoder = encoders.get((method, format_name))
    bits = quantization.get("bits", 4)
    if encoder is None or (method in {"gptq", "awq"} and bits != 4):  # noqa: PLR2004 -- what is written here
        raise UnavailableError(f"{name_of({'config': {'quantization_config': quantization}})} is not written here")
    return encoder


def _is_encoded(name: str, tensor: Tensor, quantization: dict[str, Any], plain: Any) -> bool:
    if quantization.get("quant_method") == "mxfp4":
        return len(tensor.shape) == 3 and bool(_STACKED.fullmatch(name))  # noqa: PLR2004 -- experts, rows, columns
    module = name[: -len(".weight")] if name.endswith(".weight") else ""
    if not module or len(tensor.shape) != 2 or _KEPT_PLAIN.search(name) or any(word in name for word in plain):  # noqa: PLR2004 -- a matrix
        return False
    return not any(_names(pattern, module) for pattern in _left_out(quantization))


def _left_out(quantization: dict[str, Any]) -> Iterator[str]:
    for key in ("ignore", "modules_to_not_convert", "exclude_modules"):
        yield from map(str, quantization.get(key) or ())


def _names(pattern: str, module: str) -> bool:
    """Return whether a pattern of modules names one: a regular expression, with stars, or a part of its name."""
    if pattern.startswith("re:"):
        return bool(re.match(pattern[3:], module))
    names = (pattern, pattern[len("model.") :]) if pattern.startswith("model.") else (pattern,)  # files may lack it
    return any(fnmatch.fnmatch(module, name) or f".{name}." in f".{module}." for name in names)


def _fp8(name: str, weight: Any, quantization: dict[str, Any]) -> Encoded:
    rows, columns = quantization.get("weight_block_size") or weight.shape
    codes, scales, values = bits.as_fp8(weight, rows, columns)
    parts = {name: Part("F8_E4M3", weight.shape, codes.tobytes())}
    if quantization.get("weight_block_size"):
        parts[f"{name}_scale_inv"] = part("F32", scales)
    else:
        parts[f"{name}_scale_inv"] = part("BF16", scales.reshape(()))
    if quantization.get("activation_scheme") == "static":
        parts[f"{name[: -len('weight')]}activation_scale"] = part("BF16", scales.reshape(-1)[:1].reshape(()))
    return parts, values


def _float_quantized(name: str, weight: Any, quantization: dict[str, Any]) -> Encoded:
    scheme = _weights_of(quantization)
    strategy = scheme.get("strategy")
    if strategy == "block":
        rows, columns = scheme["block_structure"]
    elif strategy in {"channel", "tensor"}:
        rows, columns = (1, weight.shape[1]) if strategy == "channel" else weight.shape
    else:
        raise UnavailableError(f"compressed-tensors with the strategy {strategy} is not written here")
    codes, scales, values = bits.as_fp8(weight, rows, columns)
    shown = scales.reshape(1) if strategy == "tensor" else scales
    return {
        name: Part("F8_E4M3", weight.shape, codes.tobytes()),
        f"{name}_scale": part("BF16", shown),
    }, values


def _pack_quantized(name: str, weight: Any, quantization: dict[str, Any]) -> Encoded:
    import numpy as np

    scheme = _weights_of(quantization)
    if scheme.get("num_bits") != 4 or scheme.get("symmetric") is False or not scheme.get("group_size"):  # noqa: PLR2004 -- what is written here
        raise UnavailableError("compressed-tensors other than of 4 bits, symmetric and in groups is not written here")
    codes, scales, values = bits.as_int4(weight, scheme["group_size"])
    return {
        f"{name}_packed": part("I32", bits.packed(codes + 8, range(8))),
        f"{name}_scale": part("BF16", scales),
        f"{name}_shape": part("I64", np.array(weight.shape)),
    }, values


def _mxfp4_packed(name: str, weight: Any, _quantization: dict[str, Any]) -> Encoded:
    nibbles, exponents, values = bits.as_mxfp4(weight)
    return {f"{name}_packed": part("U8", bits.pairs(nibbles)), f"{name}_scale": part("U8", exponents)}, values


def _mxfp4_blocks(name: str, weight: Any, _quantization: dict[str, Any]) -> Encoded:
    experts, rows, columns = weight.shape  # stored the other way round, and read as it is here
    nibbles, exponents, values = bits.as_mxfp4(weight.transpose(0, 2, 1).reshape(experts * columns, rows))
    parts = {
        f"{name}_blocks": part("U8", bits.pairs(nibbles).reshape(experts, columns, rows // 32, 16)),
        f"{name}_scales": part("U8", exponents.reshape(experts, columns, rows // 32)),
    }
    return parts, values.reshape(experts, columns, rows).transpose(0, 2, 1)


def _nvfp4(name: str, weight: Any, _quantization: dict[str, Any]) -> Encoded:
    import numpy as np

    rows, columns = weight.shape
    whole = bits.scales(weight, rows, columns, bits.E2M1[-1] * _NVFP4_LARGEST)[0, 0]
    scales = bits.scales(weight, 1, _NVFP4_BLOCK, bits.E2M1[-1]) / whole
    scales = np.maximum(scales, _NVFP4_SMALLEST)
    each = bits.spread(scales, 1, _NVFP4_BLOCK, weight.shape) * whole
    nibbles = bits.nearest(weight / each, bits.E2M1)
    return {
        name: part("U8", bits.pairs(nibbles)),
        f"{name}_scale": Part("F8_E4M3", scales.shape, bits.nearest(scales, bits.E4M3).tobytes()),
        f"{name}_scale_2": part("F32", np.array(whole)),
        f"{name[: -len('weight')]}input_scale": part("F32", np.array(whole)),
    }, bits.decoded(nibbles, bits.E2M1) * each


def _gptq(name: str, weight: Any, quantization: dict[str, Any]) -> Encoded:
    import numpy as np

    group = quantization.get("group_size") or 128
    codes, scales, values = bits.as_int4(weight, group)
    stem = name[: -len("weight")]
    zeros = np.full((scales.shape[1], weight.shape[0]), 7)  # stored one less than meant
    return {
        f"{stem}qweight": part("I32", bits.packed(codes + 8, range(8)).T),
        f"{stem}qzeros": part("I32", bits.packed(zeros, range(8))),
        f"{stem}scales": part("F16", scales.T),
        f"{stem}g_idx": part("I32", np.arange(weight.shape[1]) // group),
    }, values


def _awq(name: str, weight: Any, quantization: dict[str, Any]) -> Encoded:
    import numpy as np

    group = quantization.get("group_size") or 128
    codes, scales, values = bits.as_int4(weight, group)
    stem = name[: -len("weight")]
    zeros = np.full((scales.shape[1], weight.shape[0]), 8)
    return {
        f"{stem}qweight": part("I32", bits.packed((codes + 8).T, _AWQ_ORDER)),
        f"{stem}qzeros": part("I32", bits.packed(zeros, _AWQ_ORDER)),
        f"{stem}scales": part("F16", scales.T),
    }, values


def _bitnet(name: str, weight: Any, _quantization: dict[str, Any]) -> Encoded:
    import numpy as np

    rows = weight.shape[0] // 4
    if rows * 4 != weight.shape[0]:
        raise UnavailableError(f"{name} has {weight.shape[0]} rows, which four do not share")
    scale = float(2.0 ** np.rint(np.log2(np.abs(weight).mean() or 1.0)))
    codes = np.clip(np.rint(weight / scale), -1, 1)
    quarters = (codes + 1).astype(np.uint8).reshape(4, rows, -1)
    packed = quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6
    return {
        name: part("U8", packed),
        f"{name}_scale": part("BF16", np.array([1 / scale])),  # the file has the inverse
    }, codes * scale


def _weights_of(quantization: dict[str, Any]) -> dict[str, Any]:
    groups = quantization.get("config_groups") or {}
    if len(groups) != 1:
        raise UnavailableError(f"compressed-tensors with {len(groups)} groups is not written here")
    return dict(next(iter(groups.values())).get("weights") or {})
