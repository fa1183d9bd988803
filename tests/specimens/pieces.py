"""A checkpoint folder with a SentencePiece tokenizer, which converters recognise; written without the library."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from monitor.miniatures.manifest import load_miniature
from monitor.miniatures.tokenizer import vocabulary
from monitor.miniatures.writer import write_miniature

if TYPE_CHECKING:
    from pathlib import Path

NORMAL, UNKNOWN, CONTROL, UNUSED = 1, 2, 3, 5
BPE = 2


def with_pieces(root: Path, slug: str = "llama") -> Path:
    """Write a miniature with its pieces in tokenizer.model instead of tokenizer.json."""
    miniature = load_miniature(slug)
    folder = write_miniature(miniature, root)
    specials = miniature.tokens.ids()
    by_index = sorted((index, word) for word, index in vocabulary(miniature.tokens).items())
    pieces = [(word, -float(index), _kind(word, specials)) for index, word in by_index]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(model_proto(pieces))
    return folder


def _kind(word: str, specials: dict[str, int]) -> int:
    if word == "<unk>":
        return UNKNOWN
    if word in specials:
        return CONTROL
    return UNUSED if word.startswith("<unused") else NORMAL


def model_proto(pieces: list[tuple[str, float, int]]) -> bytes:
    """Encode SentencePiece's ModelProto: pieces, that they were made by merging, and that text is left as it is."""
    told = b"".join(
        _field(1, _field(1, word.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind]))
        for word, score, kind in pieces
    )
    trainer = b"\x18" + bytes([BPE])
    normalizer = _field(1, b"identity") + b"\x18\x00" + b"\x20\x00"  # no space in front, none removed
    return told + _field(2, trainer) + _field(3, normalizer)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
