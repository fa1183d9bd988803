"""Says which parts of a published model a miniature leaves out, so that none counts as measured; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NO_EXTRA_HEADS = frozenset({"num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "num_mtp_layers"})
QUANTIZATION = ("quantization_config", "compression_config")
# methods that transformers, vLLM or the publishers' tools name; MLX writes no method, but a mode
_METHODS = frozenset(
    """aqlm auto-round awq bitnet bitsandbytes compressed-tensors deepspeedfp eetq exl2 experts_int8 fbgemm_fp8
    fouroversix fp8 fp_quant gguf gptq higgs hqq inc ipex marlin modelopt modelopt_fp4 mxfp4 nvfp4 quanto quark
    rtn sinq spqr torchao tpu_int8 vptq""".split()  # noqa: SIM905 -- thirty quoted words are harder to read than thirty words
)
_IMAGES = ("vision_config", "visual", "vision_tower", "image_token_id", "image_token_index", "img_processor")
_SOUNDS = ("audio_config", "audio_token_id", "audio_token_index", "audio_processor", "speech_config")
NOT_MEASURED = "not measured"


def unmeasured(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each part of the published configuration that no miniature has, by the part's name."""
    sections = list(_sections(config))
    parts = {
        "weights": next((_weights(part[key]) for part in sections for key in QUANTIZATION if part.get(key)), ""),
        "heads": next((text for part in sections if (text := _heads(part))), ""),
        **taken(config),
    }
    return {name: f"{text}: {NOT_MEASURED}" for name, text in parts.items() if text}


def form_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how published weights with fewer bits are described, in the section that does; None for plain ones."""
    for key in QUANTIZATION:
        if isinstance(config.get(key), dict) and config[key]:
            return {"config": {"quantization_config": dict(config[key])}}
    text = config.get("text_config")
    nested = form_of(text) if isinstance(text, dict) else None
    return {"config": {"text_config": nested["config"]}} if nested else None


def taken(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what the model takes besides text, and a probe does not give; "" for what it does not take."""
    sections = list(_sections(config))
    images = any(part.get(key) is not None for part in sections for key in _IMAGES)
    sounds = any(part.get(key) is not None for part in sections for key in _SOUNDS)
    return {
        "images": "the model takes images, and none is given" if images else "",
        "sounds": "the model takes sounds, and none is given" if sounds else "",
    }


def _sections(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield config
    for key, value in config.items():
        if isinstance(value, dict) and key not in QUANTIZATION:
            yield from _sections(value)


def _weights(quantization: Any) -> str:
    if not isinstance(quantization, dict):
        return f"published weights are quantized in a way that is not readable ({str(quantization)[:40]!r})"
    method = str(quantization.get("quant_method") or quantization.get("quant_algo") or "")[:60]
    if not method and {"bits", "group_size"} <= quantization.keys():
        method = "mlx"
    described = str(quantization.get("format") or quantization.get("fmt") or quantization.get("mode") or "")[:60]
    bits = quantization.get("bits")
    detail = ", ".join(filter(None, (described, f"{bits} bits" if isinstance(bits, int) else "")))
    text = f"published weights are {method or 'quantized without a named method'}{f' ({detail})' if detail else ''}"
    return text if method.lower() in _METHODS | {"mlx"} else f"{text}, a method that is not known"


def _heads(section: Mapping[str, Any]) -> str:
    for key in sorted(NO_EXTRA_HEADS):
        count = section.get(key)
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return f"it has {count} {'head' if count == 1 else 'heads'} for further tokens ({key})"
    return ""
