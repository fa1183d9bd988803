"""Reads what a run's container printed, cut to its own subject and without what would move a terminal's cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.text import printable

if TYPE_CHECKING:
    from monitor.store import Reader


def log_of(store: Reader, digest: str, cell: str) -> str:
    """Return what the container of a run of ``cell`` printed: of a shared session, the lines of this subject alone."""
    raw = store.log(digest) if digest else None
    text = printable((raw or b"").decode("utf-8", errors="replace"))
    before, marker, own = text.partition(f"=== subject {cell.rpartition('@')[0]} ===\n")
    return own.partition("=== subject ")[0] if marker else before
