"""Reads the subject's own files without the runtime: its configuration, its tensors' places, what is wrong in them."""

from __future__ import annotations

import json
import struct
from pathlib import Path  # noqa: TC003 -- Tensor's fields are resolved when it is made
from typing import Any, NamedTuple

from probes.events import Answer, failed

_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_MAX_HEADER_BYTES = 100 << 20
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "*.spm", "vocab.json", "vocab.txt", "*.tiktoken", "tekken.json")
_TOKENIZER_OBJECTS = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


class Tensor(NamedTuple):
    """Where one tensor's bytes lie; ``dtype`` is the format's own word, such as BF16."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class BadFileError(Exception):
    """A file of the subject is not what it should be, whoever reads it."""


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
    """Return the model's own chat template, "" where its files bring none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = optional_json(folder, "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several by name
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}.get("default")
    return found if isinstance(found, str) else ""


def tensors(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of the checkpoint's safetensors files by name, checked against the files' sizes."""
    found: dict[str, Tensor] = {}
    index = _index(folder)
    for file in _weights(folder, index):
        found.update(_tensors_of(file))
    absent = sorted(set(index) - set(found))
    if absent:
        raise BadFileError(f"the index names {len(absent)} tensors that no file holds, such as {absent[0]}")
    return found


def _index(folder: Path) -> dict[str, str]:
    index = optional_json(folder, "model.safetensors.index.json").get("weight_map", {})
    if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
        raise BadFileError("the weight_map of model.safetensors.index.json names no files")
    return index


def _weights(folder: Path, index: dict[str, str]) -> list[Path]:
    """Return the files that make the checkpoint; others beside them (adapters, other formats) are not the model's."""
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
        except ValueError as error:
            raise BadFileError(f"the header of {file.name} is not JSON: {error}") from None
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            tensor = Tensor(file, entry["dtype"], tuple(entry["shape"]), 8 + length + first, 8 + length + last)
            if tensor.stop > size:
                raise BadFileError(f"{file.name} ends {tensor.stop - size} bytes before the end of {name}")
            _agree(name, tensor)
            found[name] = tensor
    return found


def _agree(name: str, tensor: Tensor) -> None:
    elements = 1
    for extent in tensor.shape:
        elements *= extent
    width = _ITEM_BYTES.get(tensor.dtype)
    if width is not None and elements * width != tensor.stop - tensor.start:
        raise BadFileError(
            f"{name} of {tensor.file.name} has {tensor.stop - tensor.start} bytes for shape {tensor.shape}"
        )


def weights_problem(folder: Path) -> Answer | None:
    """Return why no runtime could load these weights safely, or None."""
    try:
        found = tensors(folder)
    except BadFileError as error:
        return failed("bad-checkpoint", str(error))
    if found:
        return None
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return failed("pickle-weights", f"the weights are only there as pickle ({pickles[0]}), which can run any code")
    return failed("bad-checkpoint", "there are no weights (*.safetensors) in the folder")


def tokenizer_problem(folder: Path) -> Answer | None:
    """Return why no runtime could make a tokenizer of these files, or None."""
    if not any(path for pattern in _TOKENIZERS for path in folder.glob(pattern)):
        return failed("bad-checkpoint", f"there is no tokenizer in the folder ({', '.join(_TOKENIZERS)})")
    try:
        for name in _TOKENIZER_OBJECTS:
            optional_json(folder, name)
    except BadFileError as error:
        return failed("bad-checkpoint", str(error))
    return None


def token_ids(config: dict[str, Any]) -> set[int]:
    """Return every id that the configuration gives a meaning of its own (image, eos, ...), nested parts included."""
    ids: set[int] = set()
    for key, value in config.items():
        if isinstance(value, dict):
            ids |= token_ids(value)
        elif key.endswith(("_token_id", "_token_ids", "_token_index", "_token")):
            ids |= {item for item in (value if isinstance(value, list) else [value]) if type(item) is int}
    return ids
