"""Tokenizer files of the kinds that publishers use, in place of the small one that a miniature comes with."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))  # bytes that stand for themselves


def write_tokenizer(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Give a folder a byte-level tokenizer, of the named class and of so many entries."""
    config_file, tokenizer_file = folder / "tokenizer_config.json", folder / "tokenizer.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    kept = json.loads(tokenizer_file.read_text(encoding="utf-8"))["added_tokens"]  # a template names them
    vocabulary = {entry["content"]: entry["id"] for entry in kept}
    taken = set(vocabulary.values())
    free = (number for number in itertools.count() if number not in taken)
    vocabulary.update(zip(_byte_letters(), free, strict=False))
    while len(vocabulary) < int(wanted.get("entries", 0)):
        number = next(free)
        vocabulary[f"filler{number}"] = number
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": kept,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": dict(sorted(vocabulary.items(), key=lambda entry: entry[1])),
            "merges": [],
        },
    }
    tokenizer_file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    config["tokenizer_class"] = wanted.get("class", config["tokenizer_class"])
    config_file.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte in a byte-level vocabulary."""
    others = [byte for byte in range(256) if byte not in _PRINTABLE]
    return [chr(byte) if byte in _PRINTABLE else chr(256 + others.index(byte)) for byte in range(256)]
