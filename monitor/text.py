"""Makes untrusted text safe to show: text from hubs and containers may move the cursor or reverse a line."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-9;:<=>?]*[ -/]*[@-~]|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x1b\\\\|\x9c|$)",
    re.DOTALL,
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """Return ``text`` without terminal sequences, control characters and invisible marks; lines and tabs stay."""
    if text.isprintable():  # most texts: two patterns over every cell of a long table take noticeable time
        return text
    return _UNSEEN.sub("", _SEQUENCE.sub("", text))


def single_line(text: str) -> str:
    return " ".join(printable(text).split())


def escaped(json_text: str) -> str:
    """Return equal JSON without anything that a terminal would interpret."""
    return _UNSEEN.sub(lambda match: json_escape(match[0]), json_text)


def json_escape(character: str) -> str:
    """Return the escape of a character: two halves beyond the first plane."""
    return "".join(f"\\u{int.from_bytes(half):04x}" for half in _halves(character))


def _halves(character: str) -> list[bytes]:
    code = character.encode("utf-16-be", errors="surrogatepass")
    return [code[at : at + 2] for at in range(0, len(code), 2)]
