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
    """A cell's latest day. ``since`` is the first of its verdict, ``asked`` how often an unknown day was resolved."""

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
        rows = select(self._db, "SELECT at FROM resolutions WHERE rowid = (SELECT max(rowid) FROM resolutions)")
        return datetime.fromisoformat(rows[0]["at"]) if rows else None

    def was_measured_on(self, platform: Platform) -> bool:
        """Return whether the platform was ever measured live."""
        sql = "SELECT 1 FROM resolutions WHERE platform = ? AND origin = 'live' LIMIT 1"
        return bool(select(self._db, sql, (str(platform),)))

    def has_news(self, runtime: Runtime, channel: Channel, *, since: datetime, now: datetime) -> bool:
        """Return whether a user may get another version of the newest release than at a moment before.

        By then a release may have been published and not be visible yet: what counts is also when it was seen here.
        """
        rows = select(
            self._db,
            "SELECT 1 FROM releases WHERE runtime = ?1 AND channel = ?2 AND yanked = '' AND published_at <= ?4"
            " AND (published_at > ?3 OR first_seen > ?3 AND first_seen <= ?4)"
            " UNION ALL SELECT 1 FROM release_events JOIN releases ON releases.runtime = release_events.project"
            "  AND releases.version = release_events.version"
            " WHERE project = ?1 AND channel = ?2 AND seen_at > ?3 AND seen_at <= ?4"
            "  AND kind IN ('yanked', 'unyanked', 'wheel-added') LIMIT 1",
            (str(runtime), str(channel), stamp(since), stamp(now)),
        )
        return bool(rows)

    def latest_days(self, platform: Platform, runtimes: Collection[Runtime]) -> list[LatestDay]:
        """Return the latest live or rebuilt day of every cell of these runtimes on the platform."""
        rows = select(
            self._db,
            "SELECT cells.subject_id, cells.runtime, cells.channel, latest.day, verdicts.verdict, verdicts.blame,"
            " verdicts.fault, coalesce(latest.carried_from, latest.day) AS probed, latest.leaning IS NOT NULL AS"
            " is_leaning, runs.version, runs.environment, runs.suite, runs.subject_digest,"
            " runs.started_at AS last_run_at,"
            " coalesce((SELECT max(flips.day) FROM flips WHERE flips.cell_id = cells.id AND NOT withdrawn),"
            "  (SELECT min(day) FROM day_verdicts WHERE cell = cells.number)) AS since,"
            " CASE verdicts.verdict WHEN 'unknown' THEN (SELECT count(DISTINCT resolution_id) FROM runs AS asking"
            "  WHERE asking.cell_id = cells.id AND asking.day = latest.day AND asking.origin = latest.origin)"
            "  ELSE 0 END AS asked"
            # from the cells to the last day of each, which CROSS holds SQLite to: else it reads every day there is
            " FROM cells CROSS JOIN day_verdicts AS latest ON latest.cell = cells.number"
            "  AND latest.day = (SELECT max(day) FROM day_verdicts WHERE cell = cells.number)"
            " JOIN verdicts ON verdicts.number = latest.verdict JOIN runs ON runs.number = latest.run"
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

    def seconds_a_cell(self, runtime: Runtime) -> float | None:
        """Return what a cell of a runtime has taken lately, the import's share included; None where none was probed."""
        rows = select(
            self._db,
            # from the latest resolutions on, a few of them; CROSS holds SQLite to this order
            "SELECT sum(seconds) / sum(cells) AS seconds FROM ("
            " SELECT (julianday(finished_at) - julianday(started_at)) * 86400 AS seconds,"
            " (SELECT count(*) FROM runs WHERE runs.session_id = sessions.id) AS cells"
            " FROM resolutions CROSS JOIN sessions ON sessions.resolution_id = resolutions.id"
            " CROSS JOIN endings ON endings.session_id = sessions.id"
            " WHERE resolutions.runtime = ? ORDER BY resolutions.at DESC LIMIT 20) WHERE cells > 0",
            (str(runtime),),
        )
        return rows[0]["seconds"] if rows else None

    def counts(self) -> Counts:
        """Return how many there are of everything now."""
        cells: Counter[tuple[str, str]] = Counter()
        faults: Counter[str] = Counter()
        for row in select(
            self._db,
            # from the cells to their last day, which CROSS holds SQLite to: the other way it reads every day there is
            "SELECT runtime, verdicts.verdict, CASE blame WHEN 'infra' THEN fault END AS fault, count(*) AS cells"
            " FROM cells CROSS JOIN day_verdicts AS latest ON latest.cell = cells.number"
            " AND latest.day = (SELECT max(day) FROM day_verdicts WHERE cell = cells.number)"
            " JOIN verdicts ON verdicts.number = latest.verdict GROUP BY 1, 2, 3",
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
