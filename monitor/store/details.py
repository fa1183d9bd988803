"""One run or one cell with everything that belongs to it, as a reader is told; frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.judge.days import Day
    from monitor.words import CheckResult, RunVerdict, Subject


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with everything that belongs to it; ``verdict`` is that of this run alone."""

    id: str
    row: Mapping[str, Any]
    checks: tuple[CheckResult, ...]
    verdict: RunVerdict
    note: str  # that its values have changed, which is no verdict
    cause: str  # why its numbers differ from the reference's, where they do and somebody has found out
    facts: Mapping[str, Any]
    resolution: Mapping[str, Any]
    session: Mapping[str, Any] | None
    ending: Mapping[str, Any] | None  # of the session; None while it goes on, and when it was interrupted


@dataclass(frozen=True, slots=True)
class CellDetail:
    id: str
    subject: Subject
    row: Mapping[str, Any]
    days: tuple[Day, ...]  # oldest first
    runs: tuple[Mapping[str, Any], ...]  # oldest first, of every origin
    flips: tuple[Mapping[str, Any], ...]
