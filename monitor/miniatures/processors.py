"""Writes what makes images ready for a miniature: the processor's files, as its family publishes them; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from monitor.miniatures.tokenizer import Tokens

    Config = Mapping[str, Any]

_HALF = [0.5, 0.5, 0.5]
_COMMON = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True}
_BILINEAR = 2


class Processor(NamedTuple):
    """The files by name, and what tokenizer_config.json says of the tokens that stand for an image."""

    files: dict[str, dict[str, Any]]
    tokens: dict[str, str]


def processor_of(config: Config, tokens: Tokens) -> Processor | None:
    """Return the processor of a miniature, None where it takes no images, or what is known does not make one."""
    family = _FAMILIES.get(str(config.get("model_type")))
    made = family(config) if family and config.get("vision_config") else None
    return made if made and tokens.ids().keys() >= set(made.tokens.values()) else None


def _gemma3(config: Config) -> Processor:
    side, length = config["vision_config"]["image_size"], config["mm_tokens_per_image"]
    images = {
        **_COMMON,
        "image_mean": _HALF,
        "image_processor_type": "Gemma3ImageProcessor",
        "image_seq_length": length,
        "image_std": _HALF,
        "processor_class": "Gemma3Processor",
        "resample": _BILINEAR,
        "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }
    text = {"image_seq_length": length, "processor_class": "Gemma3Processor"}
    # releases before 5 look for the first one by a regular expression, which its published spelling is, too
    tokens = {"boi_token": "<start_of_image>", "eoi_token": "<|eoi|>", "image_token": "<|image|>"}
    return Processor({"preprocessor_config.json": images, "processor_config.json": text}, tokens)


_FAMILIES: dict[str, Callable[[Config], Processor]] = {
    "gemma3": _gemma3,
}
