"""What the reports ask: the days of a cell, what a replay could not rebuild, and the days that stayed unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.domain import InstalledAsOf, Rung, Verdict
from monitor.store.rows import first_row, select

if TYPE_CHECKING:
    from sqlite_utils import Database

    from monitor.domain import Runtime


class ReportQueries:
    def __init__(self, db: Database) -> None:
        self._db = db

    def days_of(self, cell_id: str) -> list[dict[str, Any]]:
        """Return the rows of a cell's days, oldest first, with the environment that each stood on."""
        return select(
            self._db,
            "SELECT day, origin, version, verdict, reason, blame, signature, run_id AS run, environment, note"
            " FROM days WHERE cell_id = ? ORDER BY day",
            (cell_id,),
        )

    def packages(self, digest: str) -> dict[str, str]:
        """Return what an environment holds, name to version, without its lock of many kilobytes."""
        row = first_row(self._db, "SELECT packages FROM environments WHERE digest = ?", digest)
        return dict(json.loads(row["packages"])) if row else {}

    def rungs_now(self) -> dict[str, dict[Rung, Verdict]]:
        """Return, by cell, what its latest day says of each rung."""
        steps, verdicts = {int(rung): rung for rung in Rung}, {str(verdict): verdict for verdict in Verdict}
        rungs: dict[str, dict[Rung, Verdict]] = {}
        for cell, step, verdict in self._db.conn.execute("SELECT cell, step, verdict FROM matrix"):
            rungs.setdefault(cell, {})[steps[step]] = verdicts[verdict]
        return rungs

    def measured_by_release(self, runtime: Runtime, version: str, *, suite: str) -> list[dict[str, Any]]:
        """Return subject, verdict, blame and fault of the version as of its release day, by these files and probes."""
        return select(
            self._db,
            "SELECT subjects.id AS subject, verdict, blame, fault FROM answers JOIN runs ON runs.id = run_id"
            " JOIN cells ON cells.id = answers.cell_id JOIN subjects ON subjects.id = subject_id"
            " WHERE cells.runtime = ? AND answers.version = ? AND answers.installed = ? AND runs.suite = ?"
            " AND runs.subject_digest = subjects.digest",
            (str(runtime), version, str(InstalledAsOf.RELEASE_DAY), suite),
        )

    def departures(self, runtime: Runtime) -> list[dict[str, Any]]:
        """Return, a row a package and version, the packages that replace those of past days, and on how many days."""
        return select(
            self._db,
            "SELECT package, departures.version, count(DISTINCT day) AS days, min(reason) AS why FROM departures"
            " JOIN resolutions ON resolutions.id = resolution_id WHERE runtime = ?"
            " GROUP BY package, departures.version",
            (str(runtime),),
        )

    def days_without_a_resolution(self, runtime: Runtime) -> int:
        """Return the number of days on which a cell was carried by an earlier day's resolution."""
        rows = select(
            self._db,
            "SELECT count(DISTINCT carries.day) AS days FROM carries JOIN resolutions ON resolutions.id = resolution_id"
            " WHERE runtime = ? AND resolutions.day < carries.day",
            (str(runtime),),
        )
        return int(rows[0]["days"])

    def unknown_days(self, runtime: Runtime) -> list[dict[str, Any]]:
        """Return, a row a subject and reason, the probed days that ended unknown."""
        return select(
            self._db,
            "SELECT subject_id AS subject, count(*) AS days, min(day) AS first, version, max(day) AS last, reason,"
            " run_id AS run FROM days JOIN cells ON cells.id = cell_id WHERE runtime = ? AND carried_from IS NULL"
            " AND verdict = 'unknown' GROUP BY cell_id, reason ORDER BY subject, first",
            (str(runtime),),
        )

    def probed_days(self, runtime: Runtime) -> int:
        """Return the number of days of cells that were measured and not carried."""
        sql = "SELECT count(*) AS days FROM days JOIN cells ON cells.id = cell_id"
        sql += " WHERE runtime = ? AND carried_from IS NULL"
        return int(select(self._db, sql, (str(runtime),))[0]["days"])
