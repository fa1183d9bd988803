"""The one writer of a history: takes facts, each kind in one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from monitor.store import recording
from monitor.store.cell_writing import CellsWriter
from monitor.store.discarding import discard_after
from monitor.store.opening import WriterLock, database_errors, open_writing
from monitor.store.outbox import OutboxWriter
from monitor.store.publishing import Publishing
from monitor.store.reader import DATABASE, Reader, open_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import date, datetime
    from pathlib import Path

    from sqlite_utils import Database

    from monitor.domain import Ending, Model, Release, Subject
    from monitor.judge.parity import ParityCause
    from monitor.sources.changes import Refs
    from monitor.store.listings import Learnt
    from monitor.store.records import Departure, EnvironmentRecord, ResolutionRecord, SessionRecord

LOCK = "settle.lock"


def open_store(home: Path) -> Store:
    """Open the database of a data directory as its one writer, creating it or bringing it up to date.

    Raises DatabaseError where another process writes to it, and for a file that is foreign, damaged or newer.
    """
    with database_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.take(home / LOCK)
    try:
        return Store(home, open_writing(home / DATABASE), lock)
    except BaseException:
        lock.release()
        raise


class Store(Reader):
    published: Publishing
    cells: CellsWriter

    def __init__(self, home: Path, db: Database, lock: WriterLock) -> None:
        super().__init__(home, db)
        self._lock = lock
        self.cells = CellsWriter(db)
        self.events.sweep()
        self.logs.sweep()
        self.published = Publishing(db, self.events)

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        super().close()
        self._lock.release()

    def record_catalogue(self, models: Iterable[Model], subjects: Iterable[Subject]) -> None:
        with self._db.atomic():
            recording.write_models(self._db, models)
            recording.write_subjects(self._db, subjects)

    def record_parity_causes(self, causes: Iterable[ParityCause]) -> None:
        """Record why numbers differ, in place of what was known before."""
        with self._db.atomic():
            recording.write_parity_causes(self._db, causes)

    def record_releases(self, listed: Sequence[Release], seen_at: datetime) -> Learnt:
        """Record what a source lists now, and what happened to releases since they were listed before."""
        with self._db.atomic():
            return self.listings.record_releases(listed, seen_at)

    def record_refs(self, project: str, repository: str, listed: Refs, seen_at: datetime) -> Learnt:
        with self._db.atomic():
            return self.listings.record_refs(project, repository, listed, seen_at)

    def record_poll(self, source: str, at: datetime, fault: str = "") -> None:
        with self._db.atomic():
            self.listings.record_poll(source, at, fault)

    def record_resolution(self, resolution: ResolutionRecord, environment: EnvironmentRecord | None = None) -> None:
        """Record what the installer answered, together with the environment where there is one."""
        log_digest = self.logs.keep(resolution.log)
        with self._db.atomic():
            if environment is not None:
                recording.write_environment(self._db, environment)
            recording.write_resolution(self._db, resolution, log_digest)

    def begin_session(self, session: SessionRecord) -> None:
        request = self.events.keep(json.dumps(dict(session.request), sort_keys=True).encode())
        with self._db.atomic():
            recording.write_session(self._db, session, request)

    def end_session(
        self, session_id: str, finished_at: datetime, ending: Ending, *, log: bytes, log_dropped_bytes: int = 0
    ) -> None:
        digest = self.logs.keep(log)
        with self._db.atomic():
            recording.write_ending(
                self._db, session_id, finished_at, ending, log_digest=digest, log_dropped_bytes=log_dropped_bytes
            )

    def take_answers(self, home: Path) -> None:
        """Take over what another history's releases answered. Raises DatabaseError where it cannot be read."""
        with open_reader(home) as other:
            self.cells.traces.take_from(other.path)

    @property
    def outbox(self) -> OutboxWriter:
        return OutboxWriter(self._db)

    def atomic(self) -> AbstractContextManager[object]:
        """Return a transaction around whatever is written within it."""
        return self._db.atomic()

    def discard_after(self, now: datetime) -> tuple[Mapping[str, int], dict[str, date]]:
        """Delete what was recorded after a moment, and return what and since when; the caller holds the transaction."""
        return discard_after(self._db, now)

    def record_departures(self, resolution_id: str, departures: Iterable[Departure]) -> None:
        with self._db.atomic():
            recording.write_departures(self._db, resolution_id, departures)
