"""Reads the headers of safetensors files and the index over several, strictly and within bounds: both are untrusted."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

LENGTH_BYTES = 8
HEADER_BYTES = 32 << 20  # the format allows 100 MB; ten thousand experts take a tenth of this
INDEX_BYTES = 64 << 20
_MOST_TENSORS = 1_000_000
_MOST_SIZES = 16
_LARGEST = 1 << 62
_NAME_CHARACTERS = 512
_DTYPE = re.compile("[A-Z][A-Z0-9_]{0,19}")
# of the types whose numbers take whole bytes; of others the size is not compared
_BYTES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
} | dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1)


@dataclass(frozen=True, slots=True)
class TensorHeader:
    name: str
    dtype: str
    shape: tuple[int, ...]


def header_length(start: bytes) -> int:
    """Return the length of the header that follows the first eight bytes. Raises ValueError where it is implausible."""
    if len(start) < LENGTH_BYTES:
        raise ValueError("it is shorter than the length of a header")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not len("{}") <= length <= HEADER_BYTES:
        raise ValueError(f"its header would have {length} bytes")
    return length


def parse_header(header: bytes) -> list[TensorHeader]:
    """Return the tensors of a header, in its order. Raises ValueError that names its first fault."""
    entries = _object(header)
    entries.pop("__metadata__", None)
    if len(entries) > _MOST_TENSORS:
        raise ValueError(f"it names {len(entries)} tensors")
    return [_tensor(name, entry) for name, entry in entries.items()]


def parse_index(body: bytes) -> dict[str, str]:
    """Return the file of each tensor that an index names. Raises ValueError that names its first fault."""
    files = _object(body).get("weight_map")
    if not isinstance(files, dict) or len(files) > _MOST_TENSORS:
        raise ValueError("it has no weight_map" if files is None else "its weight_map is unusable")
    for name, file in files.items():
        _named(name)
        if not isinstance(file, str) or not file.isprintable() or "/" in file or not file.endswith(".safetensors"):
            raise ValueError(f"{name} is in {str(file)[:80]!r}, which is no file beside it")
    return files


def _tensor(name: str, entry: Any) -> TensorHeader:
    _named(name)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} is described otherwise than the format has it")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError(f"{name} has the type {str(dtype)[:40]!r}")
    if not _sizes(shape) or len(shape) > _MOST_SIZES:
        raise ValueError(f"{name} has a shape of no sizes")
    match offsets:
        case [int(begin), int(end)] if _sizes(offsets) and begin <= end:
            size = end - begin
        case _:
            raise ValueError(f"{name} has no place in the file")
    if dtype in _BYTES and size != math.prod(shape) * _BYTES[dtype]:
        raise ValueError(f"{name} has {size} bytes for a shape of {'x'.join(map(str, shape))} {dtype}")
    return TensorHeader(name, dtype, tuple(shape))


def _named(name: str) -> None:
    if not name or len(name) > _NAME_CHARACTERS or not name.isprintable():
        raise ValueError(f"{name[:80]!r} is no name of a tensor")


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < _LARGEST for size in value)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(document, dict):
        return document
    raise ValueError("it is no JSON object")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("it names something twice")
    return entries
