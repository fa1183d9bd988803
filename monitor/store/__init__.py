"""Remembers: facts append-only, judgements derived, answers as rows of the domain's words."""

from typing import TYPE_CHECKING, Any

from monitor.store.cells import CellDetail
from monitor.store.reader import Reader, open_reader
from monitor.store.records import Departure, EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord
from monitor.store.tracks import Track

if TYPE_CHECKING:
    from monitor.store.store import Store, open_store

__all__ = [
    "CellDetail",
    "Departure",
    "EnvironmentRecord",
    "Reader",
    "ResolutionRecord",
    "RunRecord",
    "SessionRecord",
    "Store",
    "Track",
    "open_reader",
    "open_store",
]


def __getattr__(name: str) -> Any:
    """Import the writer when somebody asks for it: commands that only read start without what it needs."""
    if name not in {"Store", "open_store"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from monitor.store import store

    return getattr(store, name)
