"""What the daemon asks: every cell's latest day, what each runtime last resolved to, and how many there are of all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, Channel, Runtime
from monitor.store.recording import stamp
from monitor.store.records import failed_environment
from monitor.store.rows import from_row, select
from monitor.store.tracks import pins_by_environment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlite_utils import Database

    from monitor.domain import Platform


@dataclass(frozen=True, slots=True)
class LatestDay:
    """A cell's latest day. ``since`` is the first of its verdict, ``asked`` how often the day was resolved."""

    subject_id: str
    runtime: Runtime
    channel: Channel
    day: date
    verdict: CellVerdict
    since: date
    probed: date
    version: str
    environment: str
    suite: str
    subject_digest: str
    is_leaning: bool  # to another verdict, which is not confirmed yet
    blame: str
    fault: str
    asked: int
    last_run_at: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """The latest answer to what a user gets of a runtime on a day; ``failures`` counts the day's failed ones."""

    id: str
    version: str
    at: datetime
    environment: str  # the name of one that could not be made, where it failed
    fault: str
    message: str
    failures: int


@dataclass(frozen=True, slots=True)
class Counts:
    cells: Mapping[tuple[str, str], int]  # (runtime, verdict)
    infra_faults: Mapping[str, int]  # cells that are unknown because of our infrastructure, by fault
    environments: Mapping[str, int]  # ever installed, by runtime
    failing_sources: Mapping[str, bool]  # of releases


class Planning:
    def __init__(self, db: Database) -> None:
        self._db = db

    def mark(self) -> tuple[int, int]:
        """Return a mark that differs after anything was written."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0]), self._db.conn.total_changes

    def last_recorded(self) -> datetime | None:
        """Return when something was last asked for, by the clock of that time."""
        rows = select(self._db, "SELECT at FROM resolutions ORDER BY rowid DESC LIMIT 1")
        return datetime.fromisoformat(rows[0]["at"]) if rows else None

    def platforms(self) -> set[str]:
        """Return the platforms that were measured live."""
        rows = select(self._db, "SELECT DISTINCT platform FROM resolutions WHERE origin = 'live'")
        return {row["platform"] for row in rows}

    def latest_days(self, platform: Platform, runtimes: Collection[Runtime]) -> list[LatestDay]:
        """Return the latest live or rebuilt day of every cell of these runtimes on the platform."""
        rows = select(
            self._db,
            "SELECT cells.subject_id, cells.runtime, cells.channel, coalesce(carried_from, days.day) AS probed,"
            " days.leaning IS NOT NULL AS is_leaning, runs.started_at AS last_run_at, days.*,"
            " coalesce((SELECT max(flips.day) FROM flips WHERE flips.cell_id = cells.id AND NOT withdrawn),"
            "  (SELECT min(first.day) FROM days AS first WHERE first.cell_id = cells.id)) AS since,"
            " (SELECT count(DISTINCT resolution_id) FROM runs WHERE runs.cell_id = cells.id AND runs.day = days.day"
            "  AND runs.origin = days.origin) AS asked"
            " FROM cells JOIN days ON days.cell_id = cells.id"
            " AND days.day = (SELECT max(later.day) FROM days AS later WHERE later.cell_id = cells.id)"
            " JOIN runs ON runs.id = days.run_id"
            " WHERE cells.platform = ? AND cells.runtime IN (SELECT value FROM json_each(?))",
            (str(platform), json.dumps([str(runtime) for runtime in runtimes])),
        )
        return [from_row(LatestDay, row) for row in rows]

    def pins_of(self, environments: Collection[str]) -> dict[str, str]:
        """Return, by an environment's digest, the pins that a probe imports; what failed to install has none."""
        return pins_by_environment(self._db, environments)

    def last_resolution(self, runtime: Runtime, channel: Channel, platform: Platform, *, day: date) -> Resolved | None:
        """Return the day's last live answer to what a user gets of the newest release."""
        rows = select(
            self._db,
            "SELECT *, (SELECT count(*) FROM resolutions AS failing WHERE failing.day = resolutions.day"
            "  AND failing.runtime = resolutions.runtime AND failing.channel = resolutions.channel"
            "  AND failing.platform = resolutions.platform AND failing.origin = 'live' AND failing.requested = ''"
            "  AND failing.failed IS NOT NULL) AS failures FROM resolutions"
            " WHERE day = ? AND runtime = ? AND channel = ? AND platform = ? AND origin = 'live' AND requested = ''"
            " ORDER BY at DESC, rowid DESC LIMIT 1",
            (day.isoformat(), str(runtime), str(channel), str(platform)),
        )
        if not rows:
            return None
        row = rows[0]
        failed = failed_environment(runtime, "", datetime.fromisoformat(row["cutoff"]).date(), row["fault"])
        return from_row(Resolved, {**row, "environment": row["environment_digest"] or failed})

    def time_spent(self, *, since: datetime) -> dict[tuple[Runtime, Channel], float]:
        """Return the seconds of sessions that ended since a moment, by runtime and channel."""
        rows = select(
            self._db,
            "SELECT runtime, channel, sum((julianday(finished_at) - julianday(started_at)) * 86400) AS seconds"
            " FROM endings JOIN sessions ON sessions.id = session_id JOIN resolutions ON resolutions.id = resolution_id"
            " WHERE finished_at >= ? AND origin = 'live' GROUP BY runtime, channel",
            (stamp(since),),
        )
        return {(Runtime(row["runtime"]), Channel(row["channel"])): row["seconds"] for row in rows}

    def seconds_a_cell(self) -> dict[Runtime, float]:
        """Return what a cell of each runtime has taken lately, the import's share included."""
        rows = select(
            self._db,
            "SELECT runtime, sum(seconds) / sum(cells) AS seconds FROM ("
            " SELECT resolutions.runtime, (julianday(finished_at) - julianday(started_at)) * 86400 AS seconds,"
            " (SELECT count(*) FROM runs WHERE runs.session_id = sessions.id) AS cells,"
            " row_number() OVER (PARTITION BY resolutions.runtime ORDER BY started_at DESC) AS place"
            " FROM sessions JOIN endings ON session_id = sessions.id"
            " JOIN resolutions ON resolutions.id = resolution_id)"
            " WHERE place <= 20 AND cells > 0 GROUP BY runtime",
        )
        return {Runtime(row["runtime"]): row["seconds"] for row in rows}

    def counts(self) -> Counts:
        """Return how many there are of everything now."""
        cells: Counter[tuple[str, str]] = Counter()
        faults: Counter[str] = Counter()
        for row in select(
            self._db,
            # from the cells to their last day, which CROSS holds SQLite to: the other way it reads every day there is
            "SELECT runtime, verdict, CASE blame WHEN 'infra' THEN fault END AS fault, count(*) AS cells"
            " FROM cells CROSS JOIN days ON days.cell_id = cells.id"
            " AND day = (SELECT max(day) FROM days AS later WHERE later.cell_id = cells.id) GROUP BY 1, 2, 3",
        ):
            cells[row["runtime"], row["verdict"]] += row["cells"]
            if row["fault"]:
                faults[row["fault"]] += row["cells"]
        environments = select(self._db, "SELECT runtime, count(*) AS environments FROM environments GROUP BY runtime")
        sources = select(self._db, "SELECT source, fault != '' AS failing FROM polls")
        return Counts(
            cells=cells,
            infra_faults=faults,
            environments={row["runtime"]: row["environments"] for row in environments},
            failing_sources={row["source"]: bool(row["failing"]) for row in sources},
        )
