"""What any number of readers may ask while the one writer works."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Self

from monitor.domain import Release, Rung, Subject, version_order
from monitor.errors import DatabaseError, UnknownName
from monitor.store.archive import FileArchive
from monitor.store.cells import Cells
from monitor.store.listings import Listings
from monitor.store.opening import broken_reference, open_reading
from monitor.store.outbox import Outbox
from monitor.store.planning import Planning
from monitor.store.published import PublishedModels
from monitor.store.queries import Answer, query
from monitor.store.records import EnvironmentRecord
from monitor.store.report import ReportQueries
from monitor.store.rows import first_row, from_row, names, select
from monitor.store.site import SiteQueries
from monitor.store.text_pool import teach_events
from monitor.store.tracks import read_tracks, tracks_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date
    from pathlib import Path

    from sqlite_utils import Database

    from monitor.domain import Channel, Origin, Platform, Runtime
    from monitor.store.tracks import Track

DATABASE = "settle.db"
DAILY = "daily"  # in the column ``installed`` of by_release: a row of the daily history
_OF_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, AssertionError)  # what a missing row ends in
_FILTERS = frozenset(
    {
        "model",
        "family",
        "architecture",
        "runtime",
        "version",
        "channel",
        "platform",
        "day",
        "verdict",
        "cell",
        "installed",
    }
)


def open_reader(home: Path) -> Reader:
    """Open the database of a data directory for reading. Raises DatabaseError when there is none that can be read."""
    return Reader(home, open_reading(home / DATABASE))


class Reader:
    def __init__(self, home: Path, db: Database) -> None:
        self.path = home / DATABASE
        self._db = db
        self.events = FileArchive(home / "events")  # facts: kept for ever
        self.logs = FileArchive(home / "logs")  # may be collected when the disk is full
        self.cells = Cells(db)
        self.planning = Planning(db)
        self.listings = Listings(db)
        self.published = PublishedModels(db, self.events)
        self.site = SiteQueries(db)
        self.report = ReportQueries(db)
        teach_events(db, self.events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Close; an error that a damaged database explains is reported as that."""
        try:
            # the check reads every row, so it is made only where something has failed
            broken = broken_reference(self._db.conn) if isinstance(error, _OF_DAMAGE) else ""
        except sqlite3.Error:
            broken = ""
        finally:
            self.close()
        if broken:
            hint = "restore a backup, or begin a new history in another data directory"
            raise DatabaseError(f"{self.path} is damaged: {broken}", hint=hint) from error

    def close(self) -> None:
        self._db.close()

    def environment(self, digest: str) -> EnvironmentRecord | None:
        row = first_row(self._db, "SELECT * FROM environments WHERE digest = ?", digest)
        return from_row(EnvironmentRecord, row) if row else None

    def last_good_environment(
        self, runtime: Runtime, platform: Platform, *, until: date, other_than: str = ""
    ) -> EnvironmentRecord | None:
        """Return the environment in which a control of this runtime worked last, if there is one.

        It goes by runs and not by days: a day holds only its last environment, and a release may break at noon what
        worked in the morning.
        """
        rows = select(
            self._db,
            # that run's version first, so that it is the one taken: with another package pinned it has a longer name
            "SELECT runs.version, environments.* FROM runs JOIN cells ON cells.id = runs.cell_id"
            " JOIN subjects ON subjects.id = cells.subject_id"
            " JOIN environments ON environments.digest = runs.environment"
            " WHERE subjects.control AND cells.runtime = ? AND cells.platform = ?"
            " AND runs.day <= ? AND runs.environment != ?"
            " AND EXISTS (SELECT 1 FROM checks WHERE run_id = runs.id AND outcome = 'passed')"
            " AND NOT EXISTS (SELECT 1 FROM checks WHERE run_id = runs.id"
            " AND rung IN (SELECT value FROM json_each(?)) AND outcome NOT IN ('passed', 'skipped'))"
            " ORDER BY runs.day DESC, runs.started_at DESC, runs.rowid DESC LIMIT 1",
            (
                str(runtime),
                str(platform),
                until.isoformat(),
                other_than,
                json.dumps([str(rung) for rung in runtime.record.bar]),
            ),
        )
        return from_row(EnvironmentRecord, rows[0]) if rows else None

    def resolved(
        self, runtime: Runtime, channel: Channel, platform: Platform, *, day: date, origin: Origin
    ) -> tuple[str, EnvironmentRecord] | None:
        """Return the day's last resolution of the newest release, by id, with the lock that it gave."""
        rows = select(
            self._db,
            "SELECT resolutions.id AS resolution_id, environments.* FROM resolutions"
            " JOIN environments ON environments.digest = environment_digest"
            " WHERE day = ? AND origin = ? AND resolutions.runtime = ? AND channel = ? AND resolutions.platform = ?"
            " AND requested = '' AND failed IS NULL ORDER BY at DESC LIMIT 1",
            (day.isoformat(), str(origin), str(runtime), str(channel), str(platform)),
        )
        return (rows[0]["resolution_id"], from_row(EnvironmentRecord, rows[0])) if rows else None

    def releases(self, runtime: Runtime) -> list[Release]:
        """Return every release that the index has listed, oldest first."""
        rows = select(self._db, "SELECT * FROM releases WHERE runtime = ? ORDER BY published_at", (str(runtime),))
        return [from_row(Release, row) for row in rows]

    def subject(self, subject_id: str) -> Subject:
        rows = select(self._db, "SELECT * FROM subjects WHERE id = ?", (subject_id,))
        if not rows:
            raise UnknownName("subject", subject_id, names(self._db, "SELECT id FROM subjects"))
        return from_row(Subject, rows[0])

    def current(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the rows of the view ``current`` whose columns equal what is wanted."""
        return self._view("current", wanted, "family, model, runtime, channel, platform")

    def history(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the rows of the view ``history`` whose columns equal what is wanted."""
        return self._view("history", wanted, "family, model, runtime, channel, platform, day")

    def by_release(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the rows of the view ``by_release`` whose columns equal what is wanted: versions in their order.

        There is one a cell, version and day of its packages.
        """
        rows = self._view("by_release", wanted, "family, model, runtime, channel, platform, installed")
        return sorted(
            rows, key=lambda row: (row["family"], row["model"], row["runtime"], version_order(row["version"] or ""))
        )

    def parity(self) -> list[dict[str, Any]]:
        """Return every row of the view ``parity``: one a cell and version, those of one release together."""
        rows = select(self._db, "SELECT * FROM parity ORDER BY family, subject")
        return sorted(rows, key=lambda row: (row["runtime"], version_order(row["version"])))

    def parity_cause(self, runtime: Runtime, architecture: str) -> str:
        """Return why the runtime's numbers differ for an architecture, "" where no cause is known."""
        sql = "SELECT cause FROM parity_causes WHERE runtime = ? AND architecture = ?"
        row = first_row(self._db, sql, str(runtime), architecture)
        return str(row["cause"]) if row else ""

    def matrix(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the rows of the view ``matrix`` whose columns equal what is wanted: one a cell and rung."""
        return self._view("matrix", wanted, "family, model, runtime, channel, platform, step")

    def tracks(self, *, rung: Rung | None = None, **wanted: str) -> list[Track]:
        """Return whole histories, at the bar or on one rung, of cells whose columns equal what is wanted."""
        return read_tracks(self._db, rung=rung, **wanted)

    def tracks_of(self, cells: Collection[str], *, rung: Rung | None = None) -> list[Track]:
        """Return whole histories, at the bar or on one rung, of the cells with these ids."""
        return tracks_of(self._db, cells, rung)

    @property
    def outbox(self) -> Outbox:
        return Outbox(self._db)

    def log(self, digest: str) -> bytes | None:
        """Return a container's log, or None when it has been collected."""
        return self.logs.read(digest)

    def request(self, digest: str) -> dict[str, Any] | None:
        """Return what a session's probe was asked."""
        data = self.events.read(digest)
        return dict(json.loads(data)) if data is not None else None

    def query(self, sql: str) -> Answer:
        return query(self.path, sql)

    def last_recorded(self) -> dict[str, Any]:
        """Return the latest run with its day, and the latest day that has a verdict; None where there is none yet."""
        latest = "SELECT id AS run, started_at, day FROM runs WHERE number = (SELECT max(number) FROM runs)"
        run = select(self._db, latest)
        day = select(self._db, "SELECT max(day) AS day FROM day_verdicts")[0]["day"]
        return {"last_run": run[0] if run else None, "last_day": day}

    def _view(self, view: str, wanted: Mapping[str, str], order: str) -> list[dict[str, Any]]:
        unknown = set(wanted) - _FILTERS
        if unknown:
            raise UnknownName("column", unknown.pop(), _FILTERS)
        conditions = " AND ".join(["1", *(f"{column} = ?" for column in wanted)])
        sql = f"SELECT * FROM {view} WHERE {conditions} ORDER BY {order}"  # noqa: S608 - names checked above
        return select(self._db, sql, wanted.values())
