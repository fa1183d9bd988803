"""Answers what pages ask of all cells at once: how each stands, where it last worked, what failed, what flipped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import Rung, Verdict
from monitor.store.cells import Cells
from monitor.store.rows import rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlite_utils import Database

    from monitor.domain import CheckResult


@dataclass(frozen=True, slots=True)
class Latest:
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
class Good:
    """The last day on which a cell worked, and the environment that it worked in."""

    day: date
    version: str
    environment: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A run as it went, without what it is judged by."""

    checks: tuple[CheckResult, ...]
    solo: bool
    log: str  # digest of what its container printed, or of what the installer did


@dataclass(frozen=True, slots=True)
class Sighting:
    """One failure in one cell, told by its first day."""

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
class Turn:
    """A confirmed change of a cell's verdict."""

    cell: str
    day: date
    confirmed: date
    before: str
    after: str
    version: str
    reason: str
    signature: str


class FailureQueries:
    def __init__(self, db: Database) -> None:
        self._db = db

    def latest(self) -> list[Latest]:
        found = rows(
            self._db,
            "SELECT days.* FROM days JOIN (SELECT cell_id, max(day) AS day FROM days GROUP BY cell_id)"
            " USING (cell_id, day) ORDER BY cell_id",
        )
        return [_latest(row) for row in found]

    def rungs(self) -> Mapping[str, Mapping[Rung, tuple[Verdict, str]]]:
        """Return, by cell, each rung's verdict and reason on the cell's last day."""
        found: dict[str, dict[Rung, tuple[Verdict, str]]] = {}
        for row in rows(
            self._db,
            "SELECT day_rungs.* FROM (SELECT cell_id, max(day) AS day FROM days GROUP BY cell_id)"
            " JOIN days USING (cell_id, day) JOIN day_rungs ON day_rungs.cell_id = days.cell_id"
            " AND day_rungs.day = coalesce(days.carried_from, days.day) ORDER BY day_rungs.cell_id, step",
        ):
            found.setdefault(row["cell_id"], {})[Rung(row["step"])] = (Verdict(row["verdict"]), row["reason"])
        return found

    def run(self, run_id: str) -> Ran:
        found = rows(
            self._db,
            "SELECT solo, coalesce(endings.log_digest, resolutions.log_digest) AS log FROM runs"
            " JOIN resolutions ON resolutions.id = resolution_id LEFT JOIN endings USING (session_id)"
            " WHERE runs.id = ?",
            (run_id,),
        )[0]
        return Ran(Cells(self._db).checks_of(run_id), bool(found["solo"]), found["log"] or "")

    def last_good(self) -> Mapping[str, Good]:
        # beside max() stand the columns of the row that has it
        found = rows(
            self._db,
            "SELECT cell_id, max(day) AS day, version, environment FROM days WHERE verdict = 'works' GROUP BY cell_id",
        )
        return {row["cell_id"]: Good(_day(row), row["version"], row["environment"]) for row in found}

    def failures(self) -> list[Sighting]:
        """Return a sighting for each failure and cell, the newest first."""
        found = rows(
            self._db,
            "WITH spans AS (SELECT signature, cell_id, min(day) AS first, max(day) AS last, count(*) AS days FROM days"
            " WHERE signature != '' AND verdict IN ('broken', 'flaky') GROUP BY signature, cell_id)"
            " SELECT spans.*, version, reason, blame, fault FROM spans"
            " JOIN days ON days.cell_id = spans.cell_id AND days.day = first"
            " ORDER BY first DESC, spans.signature, spans.cell_id",
        )
        return [
            Sighting(
                row["signature"],
                row["cell_id"],
                date.fromisoformat(row["first"]),
                date.fromisoformat(row["last"]),
                row["days"],
                row["version"],
                row["reason"],
                row["blame"] or "",
                row["fault"],
            )
            for row in found
        ]

    def turns(self, *, most: int) -> list[Turn]:
        """Return the newest flips that still stand, by the day on which they were confirmed."""
        found = rows(
            self._db,
            "SELECT flips.*, days.version, days.reason, days.signature FROM flips"
            " JOIN days ON days.cell_id = flips.cell_id AND days.day = flips.confirmed"
            " WHERE NOT withdrawn ORDER BY confirmed DESC, flips.day DESC, flips.cell_id LIMIT ?",
            (most,),
        )
        return [
            Turn(
                row["cell_id"],
                _day(row),
                date.fromisoformat(row["confirmed"]),
                row["before"],
                row["after"],
                row["version"],
                row["reason"],
                row["signature"],
            )
            for row in found
        ]


def _latest(row: Mapping[str, Any]) -> Latest:
    return Latest(
        cell=row["cell_id"],
        day=_day(row),
        measured=date.fromisoformat(row["carried_from"] or row["day"]),
        version=row["version"],
        verdict=row["verdict"],
        rung=row["rung"] or "",
        reason=row["reason"],
        blame=row["blame"] or "",
        fault=row["fault"],
        signature=row["signature"],
        note=row["note"],
        run=row["run_id"],
        environment=row["environment"],
    )


def _day(row: Mapping[str, Any]) -> date:
    return date.fromisoformat(row["day"])
