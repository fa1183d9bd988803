"""What the site's pages ask of all cells at once: latest days, last good days, failures and flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.domain import CheckResult, Rung, Verdict
from monitor.store.cells import Cells
from monitor.store.rows import from_row, select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlite_utils import Database


@dataclass(frozen=True, slots=True)
class CellNow:
    """A cell's last day; ``measured`` is the day of the run that it stands on."""

    cell: str
    day: date
    measured: date
    version: str
    verdict: str
    rung: str
    reason: str
    blame: str
    fault: str
    signature: str
    note: str
    run: str
    environment: str


@dataclass(frozen=True, slots=True)
class LastGood:
    """The last day on which a cell worked, and the environment that it worked in."""

    day: date
    version: str
    environment: str


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The checks of a run, without what they are judged by."""

    checks: tuple[CheckResult, ...]
    solo: bool
    log: str  # digest of what its container printed, or of what the installer did


@dataclass(frozen=True, slots=True)
class FailureSpan:
    """One failure in one cell, described by its first day."""

    signature: str
    cell: str
    first: date
    last: date
    days: int
    version: str
    reason: str
    blame: str
    fault: str


@dataclass(frozen=True, slots=True)
class ConfirmedFlip:
    """A confirmed change of a cell's verdict."""

    cell: str
    day: date
    confirmed: date
    before: str
    after: str
    version: str
    reason: str
    signature: str


class SiteQueries:
    def __init__(self, db: Database) -> None:
        self._db = db

    def latest(self) -> list[CellNow]:
        rows = select(
            self._db,
            "SELECT days.*, cell_id AS cell, coalesce(carried_from, day) AS measured, run_id AS run FROM days"
            " JOIN (SELECT cell_id, max(day) AS day FROM days GROUP BY cell_id) USING (cell_id, day) ORDER BY cell_id",
        )
        return [from_row(CellNow, row) for row in rows]

    def rungs(self) -> Mapping[str, Mapping[Rung, tuple[Verdict, str]]]:
        """Return, by cell, each rung's verdict and reason on the cell's last day."""
        rungs: dict[str, dict[Rung, tuple[Verdict, str]]] = {}
        for row in select(
            self._db,
            "SELECT day_rungs.* FROM (SELECT cell_id, max(day) AS day FROM days GROUP BY cell_id)"
            " JOIN days USING (cell_id, day) JOIN day_rungs ON day_rungs.cell_id = days.cell_id"
            " AND day_rungs.day = coalesce(days.carried_from, days.day) ORDER BY day_rungs.cell_id, step",
        ):
            rungs.setdefault(row["cell_id"], {})[Rung(row["step"])] = (Verdict(row["verdict"]), row["reason"])
        return rungs

    def run(self, run_id: str) -> RunOutcome:
        row = select(
            self._db,
            "SELECT solo, coalesce(endings.log_digest, resolutions.log_digest) AS log FROM runs"
            " JOIN resolutions ON resolutions.id = resolution_id LEFT JOIN endings USING (session_id)"
            " WHERE runs.id = ?",
            (run_id,),
        )[0]
        return RunOutcome(Cells(self._db).checks_of(run_id), bool(row["solo"]), row["log"] or "")

    def last_good(self) -> Mapping[str, LastGood]:
        rows = select(
            self._db,
            # with max() come the columns of the row that has it
            "SELECT cell_id, max(day) AS day, version, environment FROM days WHERE verdict = 'works' GROUP BY cell_id",
        )
        return {row["cell_id"]: from_row(LastGood, row) for row in rows}

    def failures(self) -> list[FailureSpan]:
        """Return a span for each failure and cell, the newest first."""
        rows = select(
            self._db,
            "WITH spans AS (SELECT signature, cell_id, min(day) AS first, max(day) AS last, count(*) AS days FROM days"
            " WHERE signature != '' AND verdict IN ('broken', 'flaky') GROUP BY signature, cell_id)"
            " SELECT spans.*, spans.cell_id AS cell, version, reason, blame, fault FROM spans"
            " JOIN days ON days.cell_id = spans.cell_id AND days.day = first"
            " ORDER BY first DESC, spans.signature, spans.cell_id",
        )
        return [from_row(FailureSpan, row) for row in rows]

    def flips(self, *, most: int) -> list[ConfirmedFlip]:
        """Return the newest flips that still stand, by the day on which they were confirmed."""
        rows = select(
            self._db,
            "SELECT flips.*, flips.cell_id AS cell, days.version, days.reason, days.signature FROM flips"
            " JOIN days ON days.cell_id = flips.cell_id AND days.day = flips.confirmed"
            " WHERE NOT withdrawn ORDER BY confirmed DESC, flips.day DESC, flips.cell_id LIMIT ?",
            (most,),
        )
        return [from_row(ConfirmedFlip, row) for row in rows]
