"""Reads the subject's files without the runtime: its configuration, the places of its tensors, and what is wrong."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_MAX_HEADER_BYTES = 100 << 20
_ENDS = 2  # of a tensor's bytes
_CUT_CHARS = 200
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "*.spm", "vocab.json", "vocab.txt", "*.tiktoken", "tekken.json")
_TOKENIZER_OBJECTS = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
# architectures whose tokens see all others unless they decode
_ENCODERS = frozenset(
    """albert bert camembert deberta deberta-v2 distilbert electra ernie eurobert jina_embeddings_v3 modernbert mpnet
    nomic_bert roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl""".split()  # noqa: SIM905 -- words
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class Tensor(NamedTuple):
    """Where one tensor's bytes lie; ``dtype`` is the format's own word, such as BF16."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class BadFileError(Exception):
    """A file of the subject is not what it should be, for any runtime."""

    def __init__(self, message: str, fault: str = "bad-checkpoint") -> None:
        super().__init__(message)
        self.fault = fault


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFileError(f"there is no {path.name}") from None
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadFileError(f"{path.name} holds a {type(value).__name__}, not an object")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json")


def optional_json(folder: Path, name: str) -> dict[str, Any]:
    return read_json(folder / name) if (folder / name).is_file() else {}


def chat_template_of(folder: Path) -> str:
    """Return the chat template of the model's files, "" without one."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = optional_json(folder, "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):  # several by name
        by_name = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = by_name.get("default")
    return template if isinstance(template, str) else ""


def tensors(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of the checkpoint's safetensors files by name, checked against the files' sizes."""
    by_name: dict[str, Tensor] = {}
    index = _index(folder)
    for file in _weights(folder, index):
        by_name.update(_tensors_of(file))
    absent = sorted(set(index) - set(by_name))
    if absent:
        raise BadFileError(f"the index names {len(absent)} tensors that no file holds, such as {absent[0]}")
    return by_name


def _index(folder: Path) -> dict[str, str]:
    index = optional_json(folder, "model.safetensors.index.json").get("weight_map", {})
    if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
        raise BadFileError("the weight_map of model.safetensors.index.json names no files")
    return index


def _weights(folder: Path, index: dict[str, str]) -> list[Path]:
    """Return the files that make the checkpoint; others (adapters, other formats) do not belong to it."""
    if index:
        files = sorted({folder / name for name in index.values()})
        absent = next((file.name for file in files if file.parent != folder or not file.is_file()), None)
        if absent is not None:
            raise BadFileError(f"the index names {absent}, which is not in the folder")
        return files
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    return [file for file in sorted(folder.glob("*.safetensors")) if not file.name.startswith("adapter_")]


def _tensors_of(file: Path) -> dict[str, Tensor]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size  # noqa: PLR2004 -- the format's length field
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise BadFileError(f"{file.name} is cut off or has no safetensors header")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise BadFileError(f"the header of {file.name} is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise BadFileError(f"the header of {file.name} holds a {type(header).__name__}, not an object")
    by_name = {}
    for name, entry in header.items():
        if name != "__metadata__":
            tensor = _tensor(file, name, entry, 8 + length)
            if tensor.stop > size:
                raise BadFileError(f"{file.name} ends {tensor.stop - size} bytes before the end of {name}")
            width, stored = _ITEM_BYTES.get(tensor.dtype), tensor.stop - tensor.start
            if width is not None and math.prod(tensor.shape) * width != stored:
                raise BadFileError(f"{name} of {file.name} has {stored} bytes for shape {tensor.shape}")
            by_name[name] = tensor
    _require_disjoint(by_name, file)
    return by_name


def _tensor(file: Path, name: str, entry: Any, start: int) -> Tensor:
    """Return a tensor as its entry of the header describes it; raises BadFileError where that is no description."""
    described: dict[str, Any] = entry if isinstance(entry, dict) else {}
    values: list[Any] = [described.get(key) for key in ("dtype", "shape", "data_offsets")]
    dtype, shape, offsets = values
    if not isinstance(dtype, str) or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != _ENDS:
        raise BadFileError(
            f"{name} of {file.name} is not described by a dtype, a shape and data_offsets: {_cut(entry)}"
        )
    first, last = offsets
    if first > last:
        raise BadFileError(f"{name} of {file.name} ends before it begins: {_cut(offsets)}")
    return Tensor(file, dtype, tuple(shape), start + first, start + last)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _cut(value: Any) -> str:
    return repr(value)[:_CUT_CHARS]


def _require_disjoint(by_name: dict[str, Tensor], file: Path) -> None:
    ordered = sorted(
        (tensor.start, tensor.stop, name) for name, tensor in by_name.items() if tensor.stop > tensor.start
    )
    for (_, stop, name), (start, _, other) in zip(ordered, ordered[1:]):
        if start < stop:
            raise BadFileError(f"{name} and {other} of {file.name} overlap by {stop - start} bytes")


def only_gguf(folder: Path) -> Path | None:
    """Return the GGUF of a folder that describes its weights by nothing else; of several parts the first."""
    if (folder / "config.json").exists():
        return None
    files = sorted(path for path in folder.glob("*.gguf") if not path.name.startswith("mmproj"))
    return files[0] if files else None


def require_weights(folder: Path, withheld: Sequence[str] = ()) -> None:
    """Raise BadFileError where no runtime could load these weights safely; ``withheld`` files are not shown here."""
    if tensors(folder):
        return
    names = {*withheld, *(path.name for path in folder.iterdir())}
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        message = f"the weights are only there as pickle ({pickles[0]}), which can run any code"
        raise BadFileError(message, fault="pickle-weights")
    raise BadFileError("there are no weights (*.safetensors) in the folder")


def require_tokenizer(folder: Path) -> None:
    """Raise BadFileError where no runtime could make a tokenizer of these files."""
    if not any(path for pattern in _TOKENIZERS for path in folder.glob(pattern)):
        raise BadFileError(f"there is no tokenizer in the folder ({', '.join(_TOKENIZERS)})")
    for name in _TOKENIZER_OBJECTS:
        optional_json(folder, name)


def text_part(config_json: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of the part that reads and writes text: all of it where the model has no other part."""
    nested = config_json.get("text_config")
    return nested if isinstance(nested, dict) else config_json


def is_embedding(config_json: dict[str, Any]) -> bool:
    """Return whether the model makes vectors and no text: its files name a model without a head."""
    names = config_json.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    return name.endswith(("Model", "Encoder")) and not name.endswith(("LMHeadModel", "LMModel"))


def is_ranking(config_json: dict[str, Any]) -> bool:
    """Return whether the model gives scores and no text, such as a reranker."""
    names = config_json.get("architectures")
    return bool(isinstance(names, list) and names and str(names[0]).endswith("ForSequenceClassification"))


def makes_text(config_json: dict[str, Any]) -> bool:
    return not is_embedding(config_json) and not is_ranking(config_json)


def sees_all(config_json: dict[str, Any]) -> bool | None:
    """Return whether a token sees those after it, None where the configuration does not say."""
    config = text_part(config_json)
    for key, means in (("is_decoder", False), ("is_causal", False), ("use_bidirectional_attention", True)):
        if config.get(key) is True:
            return means
    if config.get("is_causal") is False:
        return True
    return True if config.get("model_type") in _ENCODERS else None


def token_ids(config: dict[str, Any]) -> set[int]:
    """Return every id to which the configuration gives a meaning (image, eos, ...), nested parts included."""
    ids: set[int] = set()
    for key, value in config.items():
        if isinstance(value, dict):
            ids |= token_ids(value)
        elif key.endswith(("_token_id", "_token_ids", "_token_index", "_token")):
            ids |= {item for item in (value if isinstance(value, list) else [value]) if type(item) is int}
    return ids
