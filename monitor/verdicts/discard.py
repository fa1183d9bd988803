"""Removes what was recorded after a moment by a clock that was ahead, and judges again what remains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.verdicts.days import rebuild_answers, rebuild_days

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store import Store


@dataclass(frozen=True, slots=True)
class Discarded:
    runs: int
    carried_days: int
    resolutions: int
    cells: int  # judged again


def discard_after(store: Store, now: datetime) -> Discarded:
    """Remove every run, resolution and announcement from after a moment; days that only they had are gone, too."""
    with store.atomic():
        deleted, cells = store.discard_after(now)
        for cell_id, since in cells.items():
            rebuild_days(store.cells, cell_id, since=since)
            rebuild_answers(store.cells, cell_id)
    return Discarded(deleted.get("runs", 0), deleted.get("carries", 0), deleted.get("resolutions", 0), len(cells))
