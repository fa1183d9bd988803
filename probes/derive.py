"""Instantiate shrunk configurations with the runtime and describe the checkpoints it would save.

Runs inside an environment of the first release that knows the architectures::

    python -I derive.py request.json answer.json

    request  {"defaults": ["mistral", ...], "subjects": [{"slug": "qwen3", "path": "/subjects/qwen3"}, ...]}
    answer   {"transformers": "4.51.0",
              "defaults": {"mistral": {...} | {"error": "..."}},
              "subjects": {"qwen3": {"tensors": [[name, shape, dtype, mean, std], ...]} | {"error": "..."}}}
"""

from __future__ import annotations

import copy
import json
import math
import struct
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

_MOST_PARAMETERS = 128_000_000


def main(argv: list[str]) -> int:
    request = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    transformers = import_module("transformers")

    answer: dict[str, Any] = {"transformers": transformers.__version__, "defaults": {}, "subjects": {}}
    for model_type in request.get("defaults", []):
        answer["defaults"][model_type] = _or_error(_defaults, model_type)
    for subject in request.get("subjects", []):
        answer["subjects"][subject["slug"]] = _or_error(_described, Path(subject["path"]))
    Path(argv[1]).write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")
    return 0


def _or_error(work: Any, argument: Any) -> Any:
    try:
        return work(argument)
    except Exception:  # noqa: BLE001 -- one architecture that does not instantiate must not take the others with it
        return {"error": traceback.format_exc(limit=-4)}


def _defaults(model_type: str) -> dict[str, Any]:
    """Return the architecture's default configuration without what every configuration carries."""
    transformers = import_module("transformers")
    auto = "transformers.models.auto"
    known = import_module(f"{auto}.configuration_auto").CONFIG_MAPPING
    causal = import_module(f"{auto}.modeling_auto").MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    common = set(transformers.PretrainedConfig().to_dict()) - {
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "tie_word_embeddings",
        "architectures",
    }
    config = known[model_type]().to_dict()
    config_json = {key: value for key, value in config.items() if key not in common and key[:1] != "_"}
    config_json["architectures"] = [causal[model_type]]
    config_json["model_type"] = model_type
    return dict(sorted(config_json.items()))


def _described(folder: Path) -> dict[str, Any]:
    torch, transformers = import_module("torch"), import_module("transformers")

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    config_json = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = getattr(transformers, (config_json.get("architectures") or [""])[0], None)
    # for a configuration whose class the publisher names otherwise than the runtime does
    auto = (
        transformers.AutoModelForImageTextToText if "text_config" in config_json else transformers.AutoModelForCausalLM
    )

    def created() -> Any:
        # called directly, so that the weights are created in float32 whatever dtype the configuration names
        fresh = copy.deepcopy(config)
        return named(fresh) if named else auto.from_config(fresh, trust_remote_code=False)

    _require_small(created)
    torch.manual_seed(0)
    model = created()
    with tempfile.TemporaryDirectory() as target:
        model.float().save_pretrained(target, safe_serialization=True, max_shard_size="100GB")
        return {"tensors": _tensors(Path(target) / "model.safetensors"), "class": type(model).__name__}


def _require_small(created: Any) -> None:
    """Raise ValueError where the model would be no miniature, before any memory is taken for its weights."""
    torch = import_module("torch")
    try:
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in created().parameters())
    except Exception:  # noqa: BLE001 -- some releases compute with weights while they are made; the limit of memory remains
        return
    if count > _MOST_PARAMETERS:
        raise ValueError(f"shrinking failed: it would have {count / 1e6:.0f} million parameters")


def _tensors(path: Path) -> list[list[Any]]:
    """Read names, shapes and dtypes from the header, and measure each tensor's mean and standard deviation."""
    torch = import_module("torch")

    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start = file.tell()
        rows = []
        for name, entry in sorted(header.items()):
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            file.seek(start + first)
            data = bytearray(file.read(last - first))
            dtype = torch.float32 if entry["dtype"] == "F32" else torch.int64 if entry["dtype"] == "I64" else None
            values = torch.frombuffer(data, dtype=dtype).double() if dtype is not None and data else None
            mean = float(values.mean()) if values is not None else 0.0
            std = float(values.std(unbiased=False)) if values is not None else 0.0
            # uninitialised memory in some releases: marked as such, never copied
            finite = math.isfinite(mean) and math.isfinite(std)
            rows.append([name, entry["shape"], entry["dtype"], mean if finite else None, std if finite else None])
        return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
