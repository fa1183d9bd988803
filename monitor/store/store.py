"""The one writer: takes facts, and keeps what they mean up to date in the same transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from monitor.domain import REFERENCE, CellVerdict, Origin
from monitor.store import history, parity, recording
from monitor.store.answers import rebuild_answer
from monitor.store.facts import write_facts
from monitor.store.goldens import pin_golden
from monitor.store.lockfile import WriterLock
from monitor.store.opening import open_writing, spoken
from monitor.store.outbox import OutboxWriter
from monitor.store.publishing import Publishing
from monitor.store.reader import DATABASE, Reader
from monitor.store.rejudge import JUDGED, Rejudged, judge_stored, rejudge
from monitor.store.rows import rows
from monitor.wire.stream import read_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import date, datetime
    from pathlib import Path

    from sqlite_utils import Database

    from monitor.domain import Cell, Ending, Model, Release, Subject
    from monitor.judge.days import Fingerprint
    from monitor.judge.parity import ParityCause
    from monitor.sources.release_events import Refs
    from monitor.store.details import RunDetail
    from monitor.store.listings import Learnt
    from monitor.store.records import Departure, EnvironmentRecord, ResolutionRecord, RunRecord, SessionRecord

LOCK = "settle.lock"


def open_store(home: Path) -> Store:
    """Open the home's database as its one writer, creating it or bringing it up to date.

    Raises DatabaseError for a home that another process writes to, and for a file that is foreign, damaged or newer.
    """
    with spoken(home):
        home.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.take(home / LOCK)
    try:
        return Store(home, open_writing(home / DATABASE), lock)
    except BaseException:
        lock.release()
        raise


class Store(Reader):
    published: Publishing

    def __init__(self, home: Path, db: Database, lock: WriterLock) -> None:
        super().__init__(home, db)
        self._lock = lock
        self._events.sweep()
        self.logs.sweep()
        self.published = Publishing(db, self._events)

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
            parity.write_causes(self._db, causes)

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

    def record_resolution(self, one: ResolutionRecord, environment: EnvironmentRecord | None = None) -> None:
        """Record what the installer answered, together with the environment where there is one."""
        log_digest = self.logs.keep(one.log)
        with self._db.atomic():
            if environment is not None:
                recording.write_environment(self._db, environment)
            recording.write_resolution(self._db, one, log_digest)

    def begin_session(self, one: SessionRecord) -> None:
        request = self._events.keep(json.dumps(dict(one.request), sort_keys=True).encode())
        with self._db.atomic():
            recording.write_session(self._db, one, request)

    def end_session(
        self, session_id: str, finished_at: datetime, ending: Ending, *, log: bytes, log_dropped_bytes: int = 0
    ) -> None:
        digest = self.logs.keep(log)
        with self._db.atomic():
            recording.write_ending(
                self._db, session_id, finished_at, ending, log_digest=digest, log_dropped_bytes=log_dropped_bytes
            )

    def record_run(self, one: RunRecord) -> RunDetail:
        """Record one run with its checks and facts, and judge its day again, all in one transaction.

        Recording the same run twice changes nothing. The events reach the disk first: what the database names is there.
        """
        events_digest = self._events.keep(one.events)
        session = read_events(one.events, [one.cell.subject_id], one.problem)
        said = session.subjects[one.cell.subject_id]
        run_id = recording.run_id(one)
        with self._db.atomic():
            recording.write_cells(self._db, [one.cell])
            if recording.write_run(self._db, one, seconds=said.seconds, events_digest=events_digest):
                row = rows(self._db, f"{JUDGED} WHERE runs.id = ?", (run_id,))[0]
                recording.replace_checks(self._db, run_id, judge_stored(row, self._events) or ())
                write_facts(self._db, run_id, (*session.own.facts, *said.facts))
                self._rebuild_after(one)
                detail = self.run_detail(run_id)
                pin_golden(self._db, one, detail)
                if detail.verdict.verdict is CellVerdict.WORKS:
                    self.published.qualify(one.cell.subject_id, one.fingerprint.subject)
        return self.run_detail(run_id)

    def carry(
        self,
        cells: Iterable[Cell],
        day: date,
        origin: Origin,
        *,
        resolution_id: str,
        fingerprints: Mapping[str, Fingerprint],
    ) -> tuple[str, ...]:
        """Carry the cells whose fingerprint, by cell id, is that of an earlier settled day; return their ids."""
        carried = []
        with self._db.atomic():
            for cell in cells:
                source = history.carriable_from(self._db, cell.id, day, origin, fingerprints[cell.id])
                if source is None:
                    continue
                if recording.write_carry(self._db, cell.id, (day, origin), resolution_id, source=source):
                    history.rebuild_cell(self._db, cell.id, since=day)
                carried.append(cell.id)
        return tuple(carried)

    def carry_over(
        self,
        cells: Iterable[Cell],
        days: Sequence[date],
        origin: Origin,
        *,
        resolution_id: str,
        fingerprints: Mapping[str, Fingerprint],
    ) -> int:
        """Carry cells, as ``carry`` does, over several days that follow one another; return how many days were new."""
        new = 0
        with self._db.atomic():
            for cell in cells:
                source = history.carriable_from(self._db, cell.id, days[0], origin, fingerprints[cell.id])
                if source is None:
                    continue
                written = sum(
                    recording.write_carry(self._db, cell.id, (day, origin), resolution_id, source=source)
                    for day in days
                )
                if written:
                    history.rebuild_cell(self._db, cell.id, since=days[0])
                new += written
        return new

    @property
    def outbox(self) -> OutboxWriter:
        return OutboxWriter(self._db)

    def atomic(self) -> AbstractContextManager[object]:
        """Return a transaction around whatever is written within it."""
        return self._db.atomic()

    def record_departures(self, resolution_id: str, departures: Iterable[Departure]) -> None:
        with self._db.atomic():
            recording.write_departures(self._db, resolution_id, departures)

    def rejudge(self) -> Rejudged:
        """Make every check, day and flip again from the facts; what was announced stays announced."""
        with self._db.atomic():
            return rejudge(self._db, self._events)

    def _rebuild_after(self, one: RunRecord) -> None:
        """Judge again what this run can have changed: its cell, or for a control every cell beside it."""
        cells = {one.cell.id}
        if self.subject(one.cell.subject_id).control:
            beside = (one.day.isoformat(), str(one.origin), str(one.cell.runtime), str(one.cell.platform))
            cells |= {
                row["cell_id"]
                for row in rows(
                    self._db,
                    "SELECT DISTINCT cell_id FROM runs JOIN cells ON cells.id = cell_id"
                    " WHERE day = ? AND origin = ? AND runtime = ? AND platform = ?",
                    beside,
                )
            }
        if one.cell.runtime is not REFERENCE:
            cells |= self._doubting(one.cell.subject_id)
        for cell_id in sorted(cells):
            if one.origin is Origin.ADHOC:
                rebuild_answer(self._db, cell_id, one.version)
            else:
                history.rebuild_cell(self._db, cell_id, since=one.day)

    def _doubting(self, subject_id: str) -> set[str]:
        """Return the cells of the subject that differ from the reference: what one says may exculpate another."""
        found = rows(
            self._db,
            "SELECT DISTINCT cells.id FROM cells JOIN runs ON runs.cell_id = cells.id"
            " JOIN facts ON facts.run_id = runs.id AND facts.name = 'heard' WHERE cells.subject_id = ?",
            (subject_id,),
        )
        return {row["id"] for row in found}
