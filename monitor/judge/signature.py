"""A failure's signature: equal failures get equal text, whatever path, address, number, quote or temporary name."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

SHOWN_CHARS = 80
_CONSIDERED_CHARS = 2000  # of the last line: a dumped tensor must not make every failure its own kind

_EXCEPTION = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt|Warning)\b")

_REPLACEMENTS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\x1b\[[0-9;]*[A-Za-z]", ""),
        (r"[\"'`\u00b4\u2018\u2019\u201c\u201d\u00ab\u00bb]+", "'"),
        (r"\b[a-z][a-z0-9+.-]*://[^\s'<>()]+", "<url>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b0[xX][0-9a-fA-F]+\b", "<address>"),
        (r"\b[A-Za-z]:\\[^\s'<>()]+", "<path>"),
        (r"(?<![\w<>/])(?:~|\.{1,2})?/(?:[^\s'<>(),:;\[\]]+)", "<path>"),
        (r"(?<![\w<>/.])[\w.+-]+(?:/[\w.+-]+)+\.\w{1,12}\b", "<path>"),
        (r"\btmp[a-z0-9_]{6,}\b", "<tmp>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", "<hex>"),
        (r"(?<![A-Za-z_\d])[-+]?(?:v(?=\d))?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?(?![A-Za-z_])", "<n>"),
        (r"<n>(?:\s*[,x\u00d7]\s*<n>)+", "<n>"),  # a shape is one thing, whatever its rank
        (r"\s+", " "),
    )
)


class Signature(NamedTuple):
    """Twelve hex digits and a short readable text."""

    digest: str
    text: str

    def __str__(self) -> str:
        return f"{self.digest} {self.text}"

    @classmethod
    def parse(cls, text: str) -> Signature:
        digest, _, shown = text.partition(" ")
        return cls(digest, shown or digest)


def normalised(message: str) -> str:
    """Return the lines of ``message`` that tell the failure, without what differs between two sightings of it."""
    text = _telling(message)[:_CONSIDERED_CHARS]
    # one replacement may uncover what another looks for, so repeat until nothing moves
    for _ in range(8):
        before = text
        for pattern, replacement in _REPLACEMENTS:
            text = pattern.sub(replacement, text)
        if text == before:
            break
    return text.strip()


def _telling(message: str) -> str:
    """Return the last line that names an exception, with the last line: one may be a heading, the other advice."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    named = next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1])
    return named if named == lines[-1] else f"{named} | {lines[-1]}"


def signature(fault: str, message: str, place: str = "") -> str:
    """Return the signature as text. ``place`` is where it happened, as ``file.py:function``."""
    text = normalised(message)
    digest = hashlib.sha256(f"{fault}\n{text}\n{place}".encode()).hexdigest()[:12]
    return str(Signature(digest, text[:SHOWN_CHARS].strip() or fault))
