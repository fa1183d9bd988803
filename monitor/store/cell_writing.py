"""Writes the runs, checks, days and flips of cells; the caller holds the transaction."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from monitor.store.cells import Cells
from monitor.store.recording import stamp
from monitor.store.text_pool import delete_unused, write_check_results, write_facts, write_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from monitor.domain import Cell, CheckResult, InstalledAsOf, Origin, RungVerdict, RunVerdict
    from monitor.judge.days import Day, Flip
    from monitor.judge.observations import Fact
    from monitor.store.records import RunRecord


class CellsWriter(Cells):
    """The same tables for the one writer, whose caller holds the transaction."""

    def write_cells(self, cells: Iterable[Cell]) -> None:
        self._db.conn.executemany(
            "INSERT OR IGNORE INTO cells (id, subject_id, runtime, channel, platform) VALUES (?, ?, ?, ?, ?)",
            [(cell.id, cell.subject_id, str(cell.runtime), str(cell.channel), str(cell.platform)) for cell in cells],
        )

    def write_run(self, run: RunRecord, *, seconds: float, events_digest: str) -> bool:
        """Write a run; return False when it has been written before."""
        self.write_cells([run.cell])
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO runs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run_id(run),
                run.cell.id,
                run.resolution_id,
                run.session_id or None,
                run.day.isoformat(),
                str(run.origin),
                str(run.purpose),
                run.version,
                run.fingerprint.environment,
                run.fingerprint.suite,
                run.fingerprint.subject,
                int(run.solo),
                run.limit_factor,
                stamp(run.started_at),
                seconds,
                json.dumps(asdict(run.ending)),
                events_digest,
                run.problem,
                str(run.installed),
                int(run.deep),
            ),
        )
        return cursor.rowcount == 1

    def write_facts(self, run: str, facts: Iterable[Fact]) -> None:
        write_facts(self._db, run, facts)

    def replace_checks(self, run: str, checks: Sequence[CheckResult]) -> None:
        (number,) = self._db.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()
        self._db.execute("DELETE FROM run_checks WHERE run = ?", (number,))
        digests = write_check_results(self._db, map(_result_row, checks))
        self._db.conn.executemany(
            "INSERT INTO run_checks SELECT ?, ?, number, ? FROM check_results WHERE digest = ?",
            [
                (number, position, check.seconds, digest)
                for position, (check, digest) in enumerate(zip(checks, digests, strict=True))
            ],
        )

    def write_carry(self, cell_id: str, day: date, origin: Origin, resolution_id: str, *, source: date) -> bool:
        """Write that a day is carried; return False when that has been written before."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO carries VALUES (?, ?, ?, ?, ?)",
            (cell_id, day.isoformat(), str(origin), resolution_id, source.isoformat()),
        )
        return cursor.rowcount == 1

    def replace_days(self, cell_id: str, days: Iterable[Day], since: date) -> None:
        (cell,) = self._db.execute("SELECT number FROM cells WHERE id = ?", (cell_id,)).fetchone()
        self._db.execute("DELETE FROM day_verdicts WHERE cell = ? AND day >= ?", (cell, since.isoformat()))
        for day in days:
            self._write_day(cell, day)

    def _write_day(self, cell: int, day: Day) -> None:
        rungs = () if day.carried_from else day.verdict.rungs  # a carried day's are those of the day it is carried from
        digest, *rung_digests = write_verdicts(self._db, [_verdict_row(day.verdict), *map(_verdict_row, rungs)])
        self._db.execute(
            "INSERT INTO day_verdicts SELECT ?, ?, ?, verdicts.number, runs.number, ?, ?, ? FROM verdicts, runs"
            " WHERE verdicts.digest = ? AND runs.id = ?",
            (
                cell,
                day.day.isoformat(),
                str(day.origin),
                day.carried_from.isoformat() if day.carried_from else None,
                _text(day.leaning),
                day.note,
                digest,
                day.run_id,
            ),
        )
        self._db.conn.executemany(
            "INSERT INTO rung_verdicts SELECT ?, ?, ?, number FROM verdicts WHERE digest = ?",
            [
                (cell, day.day.isoformat(), int(rung.rung), rung_digest)
                for rung, rung_digest in zip(rungs, rung_digests, strict=True)
            ],
        )

    def replace_flips(self, cell_id: str, flips: Iterable[Flip], since: date) -> None:
        """Write the flips confirmed from ``since`` on. An announced one is kept, and marked when it is no more."""
        within = (cell_id, since.isoformat())
        self._db.execute("DELETE FROM flips WHERE cell_id = ? AND confirmed >= ? AND announced_at IS NULL", within)
        self._db.execute("UPDATE flips SET withdrawn = 1 WHERE cell_id = ? AND confirmed >= ?", within)
        self._db.conn.executemany(
            "INSERT INTO flips (cell_id, day, before, after, confirmed) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (cell_id, day, after) DO UPDATE SET withdrawn = 0, before = excluded.before,"
            " confirmed = excluded.confirmed",
            [
                (cell_id, flip.day.isoformat(), str(flip.before), str(flip.after), flip.confirmed.isoformat())
                for flip in flips
            ],
        )

    def delete_answers(self, cell_id: str) -> None:
        self._db.execute("DELETE FROM answers WHERE cell_id = ?", (cell_id,))

    def replace_answer(
        self, cell_id: str, version: str, installed: InstalledAsOf, day: date, *, verdict: RunVerdict, run: str
    ) -> None:
        """Write what was asked by hand of one version."""
        rungs = json.dumps({str(rung.rung): str(rung.verdict) for rung in verdict.rungs})
        values = (cell_id, version, str(installed), day.isoformat(), *_verdict_row(verdict), run, rungs)
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def pin_golden(self, run_id: str, run: RunRecord, trace: Mapping[str, Any]) -> None:
        """Pin what a run of the reference, one of the day and files of ``run``, has recorded."""
        values = (str(run.cell.runtime), run.version, run.day.isoformat(), run_id, json.dumps(trace))
        self._db.execute("INSERT OR IGNORE INTO goldens VALUES (?, ?, ?, ?, ?, ?)", (run.fingerprint.subject, *values))

    def replace_notes(self, notes: Iterable[tuple[str, int, str, int]]) -> None:
        """Write the notes, as ``notes_on`` returns them, on those of their days that still work by the same run."""
        self._db.conn.executemany(
            "UPDATE day_verdicts SET note = ? WHERE cell = ? AND day = ? AND run = ?"
            " AND verdict IN (SELECT number FROM verdicts WHERE verdict = 'works')",
            notes,
        )

    def forget_unreferenced_texts(self) -> None:
        delete_unused(self._db)


def run_id(run: RunRecord) -> str:
    """Return a short name that is the same however often the run is recorded: nothing is doubled."""
    text = f"{run.session_id or run.resolution_id}\n{run.cell.id}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _result_row(check: CheckResult) -> tuple[str | None, ...]:
    return (
        check.name,
        str(check.rung),
        str(check.outcome),
        check.fault,
        _text(check.blame),
        check.message,
        check.signature,
        json.dumps(check.evidence) if check.evidence else None,
    )


def _verdict_row(verdict: RunVerdict | RungVerdict) -> tuple[str | None, ...]:
    return (
        str(verdict.verdict),
        _text(verdict.rung),
        verdict.reason,
        _text(verdict.blame),
        verdict.fault,
        verdict.signature,
    )


def _text(member: object | None) -> str | None:
    """Return a member of a closed set as its column has it."""
    return None if member is None else str(member)
