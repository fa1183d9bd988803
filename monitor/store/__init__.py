"""Remembers: facts append-only, judgements derived, answers as rows of the domain's words."""

from monitor.store.details import CellDetail, RunDetail
from monitor.store.reader import Reader, open_reader
from monitor.store.records import Departure, EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord
from monitor.store.store import Store, open_store
from monitor.store.tracks import Track

__all__ = [
    "CellDetail",
    "Departure",
    "EnvironmentRecord",
    "Reader",
    "ResolutionRecord",
    "RunDetail",
    "RunRecord",
    "SessionRecord",
    "Store",
    "Track",
    "open_reader",
    "open_store",
]
