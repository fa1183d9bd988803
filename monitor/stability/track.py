"""From one history of days to its stabilization; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.stability.words import ESTABLISHED_DAYS, STABLE_DAYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from monitor.stability.words import Observation, Stabilization


def stabilization(
    observations: Sequence[Observation],
    *,
    released: date | None,
    through: date,
    window: int = STABLE_DAYS,
    established: int = ESTABLISHED_DAYS,
) -> Stabilization:
    """Return what the days of one cell, or of one rung of it, say as of ``through``.

    ``observations`` come in any order, at most one a day (ValueError); days after ``through`` are not looked at.
    ``window`` and ``established`` are in days.
    """
    raise NotImplementedError
