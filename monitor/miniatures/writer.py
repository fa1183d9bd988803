"""Writes miniatures, as checkpoints that are the same bytes everywhere and as descriptions on a shelf."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.miniatures.manifest import HUB, Miniature, Tensor, read_miniature, write_folder
from monitor.miniatures.processors import processor_of
from monitor.miniatures.tokenizer import tokenizer_config, tokenizer_json

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITER: Final = 1  # raise it when the same inputs make other bytes

# Quantiles of the normal distribution in 1/65536, the positive half. A literal, because a table computed from log and
# sqrt may differ in its last bit from one libm to the next.
# fmt: off
_HALF: Final = (
    322, 965, 1608, 2252, 2896, 3540, 4184, 4829, 5474, 6120, 6767, 7414,
    8062, 8710, 9360, 10010, 10661, 11314, 11967, 12622, 13278, 13935, 14594, 15254,
    15915, 16579, 17244, 17910, 18579, 19250, 19922, 20597, 21274, 21953, 22634, 23318,
    24004, 24693, 25385, 26080, 26777, 27478, 28182, 28889, 29599, 30313, 31030, 31751,
    32476, 33205, 33938, 34675, 35417, 36163, 36914, 37670, 38431, 39197, 39968, 40745,
    41527, 42316, 43111, 43912, 44719, 45534, 46355, 47184, 48021, 48865, 49717, 50578,
    51448, 52326, 53215, 54113, 55021, 55940, 56870, 57811, 58765, 59731, 60710, 61703,
    62710, 63732, 64770, 65824, 66895, 67985, 69093, 70222, 71371, 72543, 73739, 74959,
    76206, 77481, 78786, 80122, 81493, 82900, 84346, 85834, 87367, 88950, 90586, 92280,
    94038, 95866, 97771, 99762, 101850, 104045, 106363, 108822, 111444, 114255, 117294, 120605,
    124256, 128335, 132980, 138403, 144974, 153427, 165600, 189589,
)
# fmt: on
_NORMAL: Final = (*(-value for value in reversed(_HALF)), *_HALF)
ITEM_BYTES: Final = {"F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "BOOL": 1}
MAX_BYTES = 256 << 20  # the largest of the project has 83 MB


def write_miniature(miniature: Miniature, root: Path) -> Path:
    """Write into ``root/<digest>`` and return it; what is there already is used as it is."""
    path = root / digest_of(miniature)
    if path.is_dir():
        return path
    with _folder_aside(root) as aside:
        _write_files(miniature, aside)
        aside.chmod(0o755)  # the probe runs as another user
        try:
            aside.rename(path)
        except OSError:  # another process was faster with the same bytes
            if not path.is_dir():
                raise
    return path


def misfit(miniature: Miniature) -> str:
    """Return why a checkpoint of this description could not be written, "" where it can."""
    unknown = sorted({tensor.dtype for tensor in miniature.tensors} - ITEM_BYTES.keys())
    if unknown:
        return f"its tensors have types that cannot be written: {', '.join(unknown)[:100]}"
    size = sum(math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype] for tensor in miniature.tensors)
    return f"it would have {size >> 20} MiB: shrinking failed" if size > MAX_BYTES else ""


def describe(miniature: Miniature) -> tuple[bytes, str]:
    """Return a miniature's description as it is stored, and the digest of the files that it makes."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(miniature, Path(folder), template="")
        files = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}
        # writing rounds numbers: the digest is that of what is read
        return json.dumps(files).encode(), digest_of(read_miniature(Path(folder)))


def shelve(description: bytes, shelf: Path) -> None:
    """Store a description on the shelf, a folder, by the digest of its files, completely or not at all."""
    with _folder_aside(shelf) as aside:
        for name, text in json.loads(description).items():
            (aside / Path(name).name).write_text(text, encoding="utf-8")
        digest = digest_of(read_miniature(aside))
        if not (shelf / digest).is_dir():
            aside.rename(shelf / digest)


@contextmanager
def _folder_aside(root: Path) -> Iterator[Path]:
    """Lend a new folder in ``root``, which is removed if it has not been renamed."""
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=root))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@lru_cache(maxsize=512)
def _digest(inputs: str) -> str:
    return hashlib.sha256(inputs.encode()).hexdigest()


def digest_of(miniature: Miniature) -> str:
    """Name the files by what they are made from, so that nothing has to be written to know it."""
    inputs: dict[str, Any] = {
        "writer": WRITER,
        "config": miniature.config,
        "generation_config": miniature.generation_config,
        "tokenizer": [tokenizer_json(miniature.tokens), tokenizer_config(miniature.tokens)],
        "template": miniature.template,
        "tensors": [asdict(tensor) for tensor in miniature.tensors],
    }
    if miniature.preprocessor_config is not None:
        inputs["preprocessor_config"] = miniature.preprocessor_config
    if processor := processor_of(miniature.config, miniature.tokens):
        inputs |= {"processor": processor._asdict()}
    if miniature.origin.startswith(HUB) and (miniature.not_measured or miniature.flaws):
        # on the shelf, where equal files of another model may lie, whose publication has no such gaps
        inputs |= {"not_measured": miniature.not_measured, "flaws": [asdict(flaw) for flaw in miniature.flaws]}
        inputs |= {"form": miniature.form} if miniature.form else {}
    return _digest(json.dumps(inputs, sort_keys=True))


def _write_files(miniature: Miniature, folder: Path) -> None:
    _write_json(folder / "config.json", miniature.config)
    _write_json(folder / "tokenizer.json", tokenizer_json(miniature.tokens))
    settings = tokenizer_config(miniature.tokens)
    if miniature.template is not None:
        # in this file and not in chat_template.jinja, which releases before 4.51 do not read
        settings["chat_template"] = miniature.template
    if processor := processor_of(miniature.config, miniature.tokens):
        # releases have looked for these tokens in either place
        settings |= {**processor.tokens, "extra_special_tokens": processor.tokens}
        for name, content in processor.files.items():
            _write_json(folder / name, content)
    _write_json(folder / "tokenizer_config.json", settings)
    for name in ("generation_config", "preprocessor_config"):
        if (values := getattr(miniature, name)) is not None:
            _write_json(folder / f"{name}.json", values)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(_header(miniature.tensors))
        for tensor in miniature.tensors:
            file.write(tensor_bytes(tensor))
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _header(tensors: tuple[Tensor, ...]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        size = math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors wants the data aligned to eight bytes
    return struct.pack("<Q", len(text)) + text


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return little-endian values drawn from the tensor's own name, one random byte each."""
    count = math.prod(tensor.shape)
    if tensor.dtype == "BOOL":
        return bytes(count)
    if tensor.dtype.startswith("I"):
        return _cycled(count, int(tensor.std) + 1, ITEM_BYTES[tensor.dtype])
    draws = hashlib.shake_128(tensor.name.encode()).digest(count)
    planes = [draws.translate(plane) for plane in _planes(tensor.mean, tensor.std, tensor.dtype)]
    values = bytearray(count * len(planes))
    for place, plane in enumerate(planes):
        values[place :: len(planes)] = plane
    return bytes(values)


@lru_cache(maxsize=4096)
def _planes(mean: float, std: float, dtype: str) -> tuple[bytes, ...]:
    """For each byte of an item, the byte that each of the 256 draws becomes."""
    items = [_item(mean + std * quantile / 65536, dtype) for quantile in _NORMAL]
    return tuple(bytes(item[place] for item in items) for place in range(len(items[0])))


def _item(value: float, dtype: str) -> bytes:
    if dtype == "F32":
        return struct.pack("<f", value)
    if dtype == "F16":
        return struct.pack("<e", value)
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    rounded = bits + 0x7FFF + (bits >> 16 & 1)  # to nearest, ties to even, as torch does
    return struct.pack("<H", rounded >> 16 & 0xFFFF)


def _cycled(count: int, modulus: int, width: int) -> bytes:
    period = b"".join(index.to_bytes(width, "little") for index in range(modulus))
    return (period * (count // modulus + 1))[: count * width]
