"""How every cell stands, and what each runtime was last found to give: the questions that planning asks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict, Channel, Runtime
from monitor.judge.installs import failed_key
from monitor.store.recording import stamp
from monitor.store.rows import rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlite_utils import Database

    from monitor.domain import Platform


@dataclass(frozen=True, slots=True)
class LatestDay:
    """A cell's latest day. ``since`` is the first of its verdict, ``asked`` how often the day's bench was begun."""

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
    leaning: bool
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
    environment: str  # where it failed, the name under which that is told
    fault: str
    message: str
    failures: int


class PlanningQueries:
    """Asks one database; a reader and the writer have one each."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def mark(self) -> tuple[int, int]:
        """Return a mark that is another one after anybody has written."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0]), self._db.conn.total_changes

    def last_recorded(self) -> datetime | None:
        """Return when something was last asked for, by the clock of that time."""
        found = rows(self._db, "SELECT at FROM resolutions ORDER BY rowid DESC LIMIT 1")
        return datetime.fromisoformat(found[0]["at"]) if found else None

    def platforms(self) -> set[str]:
        """Return the platforms that were measured live."""
        found = rows(self._db, "SELECT DISTINCT platform FROM resolutions WHERE origin = 'live'")
        return {row["platform"] for row in found}

    def latest_days(self, platform: Platform, runtimes: Collection[Runtime]) -> list[LatestDay]:
        """Return the latest live or rebuilt day of every cell of these runtimes on the platform."""
        found = rows(
            self._db,
            "SELECT cells.subject_id, cells.runtime, cells.channel, days.*,"
            " coalesce((SELECT max(flips.day) FROM flips WHERE flips.cell_id = cells.id AND NOT withdrawn),"
            "  (SELECT min(first.day) FROM days AS first WHERE first.cell_id = cells.id)) AS since,"
            " (SELECT count(DISTINCT resolution_id) FROM runs WHERE runs.cell_id = cells.id AND runs.day = days.day"
            "  AND runs.origin = days.origin) AS asked, runs.started_at"
            " FROM cells JOIN days ON days.cell_id = cells.id"
            " AND days.day = (SELECT max(later.day) FROM days AS later WHERE later.cell_id = cells.id)"
            " JOIN runs ON runs.id = days.run_id"
            " WHERE cells.platform = ? AND cells.runtime IN (SELECT value FROM json_each(?))",
            (str(platform), json.dumps([str(one) for one in runtimes])),
        )
        return [
            LatestDay(
                subject_id=row["subject_id"],
                runtime=Runtime(row["runtime"]),
                channel=Channel(row["channel"]),
                day=date.fromisoformat(row["day"]),
                verdict=CellVerdict(row["verdict"]),
                since=date.fromisoformat(row["since"]),
                probed=date.fromisoformat(row["carried_from"] or row["day"]),
                version=row["version"],
                environment=row["environment"],
                suite=row["suite"],
                subject_digest=row["subject_digest"],
                leaning=row["leaning"] is not None,
                blame=row["blame"] or "",
                fault=row["fault"],
                asked=row["asked"],
                last_run_at=datetime.fromisoformat(row["started_at"]),
            )
            for row in found
        ]

    def packages_of(self, environments: Iterable[str]) -> dict[str, Mapping[str, str]]:
        """Return, by an environment's digest, the versions of its packages; what failed to install has none."""
        found = rows(
            self._db,
            "SELECT digest, packages FROM environments WHERE digest IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(set(environments))),),
        )
        return {row["digest"]: json.loads(row["packages"]) for row in found}

    def last_resolution(self, runtime: Runtime, channel: Channel, platform: Platform, *, day: date) -> Resolved | None:
        """Return the day's last live answer to what a user gets of the newest release."""
        found = rows(
            self._db,
            "SELECT *, (SELECT count(*) FROM resolutions AS failing WHERE failing.day = resolutions.day"
            "  AND failing.runtime = resolutions.runtime AND failing.channel = resolutions.channel"
            "  AND failing.platform = resolutions.platform AND failing.origin = 'live' AND failing.requested = ''"
            "  AND failing.failed IS NOT NULL) AS failures FROM resolutions"
            " WHERE day = ? AND runtime = ? AND channel = ? AND platform = ? AND origin = 'live' AND requested = ''"
            " ORDER BY at DESC, rowid DESC LIMIT 1",
            (day.isoformat(), str(runtime), str(channel), str(platform)),
        )
        if not found:
            return None
        row = found[0]
        return Resolved(
            id=row["id"],
            version=row["version"],
            at=datetime.fromisoformat(row["at"]),
            environment=row["environment_digest"]
            or failed_key(runtime, "", datetime.fromisoformat(row["cutoff"]).date(), row["fault"]),
            fault=row["fault"],
            message=row["message"],
            failures=row["failures"],
        )

    def time_spent(self, *, since: datetime) -> dict[tuple[Runtime, Channel], float]:
        """Return the seconds of sessions that ended since a moment, by runtime and channel."""
        found = rows(
            self._db,
            "SELECT runtime, channel, sum((julianday(finished_at) - julianday(started_at)) * 86400) AS seconds"
            " FROM endings JOIN sessions ON sessions.id = session_id JOIN resolutions ON resolutions.id = resolution_id"
            " WHERE finished_at >= ? AND origin = 'live' GROUP BY runtime, channel",
            (stamp(since),),
        )
        return {(Runtime(row["runtime"]), Channel(row["channel"])): row["seconds"] for row in found}

    def seconds_a_cell(self) -> dict[Runtime, float]:
        """Return what a cell of each runtime has taken lately, the import's share included."""
        found = rows(
            self._db,
            "SELECT runtime, sum(seconds) / sum(cells) AS seconds FROM ("
            " SELECT resolutions.runtime, (julianday(finished_at) - julianday(started_at)) * 86400 AS seconds,"
            " (SELECT count(*) FROM runs WHERE runs.session_id = sessions.id) AS cells,"
            " row_number() OVER (PARTITION BY resolutions.runtime ORDER BY started_at DESC) AS place"
            " FROM sessions JOIN endings ON session_id = sessions.id"
            " JOIN resolutions ON resolutions.id = resolution_id)"
            " WHERE place <= 20 AND cells > 0 GROUP BY runtime",
        )
        return {Runtime(row["runtime"]): row["seconds"] for row in found}
