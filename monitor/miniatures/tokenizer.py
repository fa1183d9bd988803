"""A character-level BPE tokenizer in SentencePiece's spirit, whose tokens are all printable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VOCABULARY = 512
RESERVED = 64  # ids below are special tokens or unused fillers; text begins here
PAD, EOS, BOS, UNK, FIRST_EXTRA = 0, 1, 2, 3, 4

# What the checks feed in and what the texts of the golden files contain; each character is a token.
_CHARACTERS = (
    "▁\n\t"
    + "".join(chr(code) for code in range(0x21, 0x7F))
    + "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœßÀÁÂÄÅÆÇÈÉÊËÍÎÑÓÔÖØÚÜŒłńśźżğışčřžő"
    + "αβγδλμπσωАБВПабвгдежзиклмнопрстуя你好世界中文模型日本語こんにちは한국어مرحباשלום"
    + "—“”…•€£¥°±÷≈≤≥→←✓😀🚀🎉👍\u200d👩💻🌍\ufe0f❤"
)
# Left-to-right merges build each of these from its characters: enough for multi-character tokens to matter.
# fmt: off
_WORDS = (
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "on", "not", "he", "by",
    "are", "this", "or", "his", "from", "at", "which", "but", "have", "an", "had", "they", "you", "were", "their",
    "one", "all", "we", "can", "her", "has", "there", "been", "if", "more", "when", "will", "would", "who", "so",
    "no", "def", "return", "import", "print", "function", "class", "self", "value", "while", "range", "hello",
    "world", "model", "answer", "question", "user", "assistant", "system", "token", "time", "test",
)
# fmt: on

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "naïve café, Grüße aus Köln, olé, œuvre, łódź, Istanbul",
    "0123456789 3.14159 1,000,000 2026-04-02 -42",
    "😀🚀🎉 👍 ❤️ 👩‍💻",
    "def f(x):\n    if x >= 10:\n\t\treturn {'a': [x ** 2, \"b\"]}  # done\n",
    "  two leading spaces, three   inside, trailing  ",
    "one\n\ntwo\n\n\nthree\n",
    "你好 世界 こんにちは 한국어 Привет",
)


class Style(StrEnum):
    """How text is cut before merging; the Qwen styles for types whose tokenizer releases build themselves."""

    METASPACE = "metaspace"
    QWEN2 = "qwen2"
    QWEN3_5 = "qwen3.5"


# The publisher's: newer releases ignore what tokenizer.json says here, so a miniature has to say the same.
_WORD_PATTERN: Final = {
    Style.QWEN2: r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    Style.QWEN3_5: r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """Special tokens in their published spelling; the first ``eos`` is the tokenizer's, all of them end generation."""

    bos: str | None
    eos: tuple[str, ...]
    pad: str
    extra: tuple[str, ...] = ()
    style: Style = Style.METASPACE

    def ids(self) -> dict[str, int]:
        """Return ids: pad, end and beginning where old architectures have them, the others after them."""
        ids: dict[str, int] = {}
        for token, index in ((self.pad, PAD), (self.eos[0], EOS), (self.bos, BOS)):
            if token is not None:
                ids.setdefault(token, index)
        for token in (*self.eos[1:], *self.extra):
            if token not in ids:
                ids[token] = max(FIRST_EXTRA, *(index + 1 for index in ids.values()))
        return ids


def vocabulary(tokens: Tokens) -> dict[str, int]:
    """Token to id, without gaps: unused special places are filled with printable names."""
    taken = {index: token for token, index in tokens.ids().items()}
    if tokens.style is Style.METASPACE:
        taken.setdefault(UNK, "<unk>")
    if max(taken) >= RESERVED:
        raise ValueError(f"{len(taken)} special tokens do not fit into {RESERVED} reserved ids")
    words = {taken.get(index, f"<unused{index}>"): index for index in range(RESERVED)}
    for piece in (*_alphabet(tokens.style), *("".join(pair) for pair in merges(tokens.style))):
        words.setdefault(piece, len(words))
    for filler in range(len(words), VOCABULARY):
        words[f"<unused{filler}>"] = filler
    if len(words) != VOCABULARY:
        raise ValueError(f"the vocabulary has {len(words)} entries instead of {VOCABULARY}")
    return words


def merges(style: Style) -> list[tuple[str, str]]:
    """Prefix merges of the words, in order and without repetition, until the vocabulary is full."""
    room = VOCABULARY - RESERVED - len(_alphabet(style))
    space = "▁" if style is Style.METASPACE else "Ġ"
    merged: dict[tuple[str, str], None] = {}
    for word in _WORDS:
        spelled = space + word
        for end in range(1, len(spelled)):
            if len(merged) < room:
                merged.setdefault((spelled[:end], spelled[end]))
    return list(merged)


def tokenizer_json(tokens: Tokens) -> dict[str, Any]:
    """Return the content of tokenizer.json; nothing is prepended to a text, so texts come back exactly."""
    words = vocabulary(tokens)
    unknown = "<unk>" if tokens.style is Style.METASPACE else None
    specials = tokens.ids() | ({unknown: words[unknown]} if unknown else {})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(token, index) for token, index in sorted(specials.items(), key=lambda item: item[1])],
        **_cutting(tokens.style),
        "post_processor": _post_processor(tokens),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown,
            "continuing_subword_prefix": None if unknown else "",
            "end_of_word_suffix": None if unknown else "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": words,
            "merges": [f"{left} {right}" for left, right in merges(tokens.style)],
        },
    }


def is_ours(tokenizer: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer.json is one of these, whatever special tokens it has: none is published."""
    model = tokenizer.get("model")
    words, merged = (model.get("vocab"), model.get("merges")) if isinstance(model, dict) else (None, None)
    if not isinstance(words, dict) or len(words) != VOCABULARY or not isinstance(merged, list):
        return False
    # newer libraries write a merge as a pair
    spelled = [" ".join(map(str, merge)) if isinstance(merge, list) else merge for merge in merged]
    return any(spelled == [" ".join(pair) for pair in merges(style)] for style in Style)


def tokenizer_config(tokens: Tokens) -> dict[str, Any]:
    return {
        "add_bos_token": tokens.bos is not None,
        "bos_token": tokens.bos,
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens.eos[0],
        "model_max_length": 4096,
        "pad_token": tokens.pad,
        "padding_side": "left",
        "tokenizer_class": "PreTrainedTokenizerFast" if tokens.style is Style.METASPACE else "Qwen2Tokenizer",
        "unk_token": "<unk>" if tokens.style is Style.METASPACE else None,
    }


def _added(token: str, index: int) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": token, **plain, "special": True}


def _cutting(style: Style) -> dict[str, Any]:
    """Return the steps before and after the model: spaces as a visible character, or bytes as visible characters."""
    if style is Style.METASPACE:
        back = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"}]
        return {
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": None,
            "decoder": {"type": "Sequence", "decoders": back},
        }
    contractions, spaces = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"\s*[\r\n]+|\s+(?!\S)|\s+"
    pattern = f"{contractions}|{_WORD_PATTERN[style]}|{spaces}"
    settings = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", **settings}]},
        "decoder": {"type": "ByteLevel", **settings},
    }


def _alphabet(style: Style) -> tuple[str, ...]:
    """Return the single characters; for the byte styles the 256 that byte-level BPE shows bytes as."""
    if style is Style.METASPACE:
        return tuple(dict.fromkeys(_CHARACTERS))
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return tuple(map(chr, [*shown, *range(0x100, 0x100 + 256 - len(shown))]))


def _post_processor(tokens: Tokens) -> dict[str, Any] | None:
    """Put the beginning token in front, as the publishers' tokenizers do."""
    if tokens.bos is None:
        return None
    index = tokens.ids()[tokens.bos]
    first = {"SpecialToken": {"id": tokens.bos, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            first,
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": tokens.bos, "type_id": 1}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {tokens.bos: {"id": tokens.bos, "ids": [index], "tokens": [tokens.bos]}},
    }
