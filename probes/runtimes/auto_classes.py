"""The class of transformers that users call for a model."""

from __future__ import annotations

from typing import Any

from probes.checkpoint import is_embedding, is_ranking
from probes.runtimes import UnavailableError


def auto_class(config: Any, config_json: dict[str, Any]) -> Any:
    """Return the auto class that users call for this model, with its other parts when its files have them."""
    import transformers

    if is_embedding(config_json):
        return getattr(transformers, config_json["architectures"][0], transformers.AutoModel)
    if is_ranking(config_json):
        return getattr(transformers, config_json["architectures"][0], transformers.AutoModelForSequenceClassification)
    names = ["AutoModelForImageTextToText", "AutoModelForVision2Seq", "AutoModelForMultimodalLM"]
    architectures = config_json.get("architectures") or [""]
    names.insert(len(names) if "ForConditionalGeneration" in architectures[0] else 0, "AutoModelForCausalLM")
    for name in names:
        auto = getattr(transformers, name, None)
        if auto is not None and type(config) in auto._model_mapping:  # noqa: SLF001 -- what the class itself looks up, in every release
            return auto
    raise UnavailableError(f"{type(config).__name__} is registered, but no class for generating text is")
