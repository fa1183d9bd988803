"""What is recorded of a cell: its runs with their checks, its carried days, and what they were judged to be."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.domain import REFERENCE, CheckResult, InstalledAsOf, Origin, Runtime, Subject
from monitor.errors import UnknownName
from monitor.judge.changes import Passed
from monitor.judge.days import Carry, Day, DayFacts, DayRun
from monitor.judge.parity import COMPARED, MATCHES
from monitor.store.records import RecordedRun
from monitor.store.rows import day_run, first_row, from_row, judged_day, names, select
from monitor.store.text_pool import VALUE
from monitor.store.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlite_utils import Database

    from monitor.judge.days import Fingerprint
    from monitor.store.records import RunRecord
    from monitor.store.rows import Row

FIRST_DAY = date.min
_RECORDED = """
SELECT runs.*, events_problem AS problem, cells.subject_id, cells.runtime, subjects.form,
    resolutions.failed, resolutions.fault, resolutions.message,
    (SELECT json_group_array(package) FROM departures WHERE departures.resolution_id = runs.resolution_id) AS later
FROM runs JOIN cells ON cells.id = runs.cell_id JOIN subjects ON subjects.id = cells.subject_id
JOIN resolutions ON resolutions.id = runs.resolution_id
"""


@dataclass(frozen=True, slots=True)
class CellDetail:
    id: str
    subject: Subject
    row: Mapping[str, Any]
    days: tuple[Day, ...]  # oldest first
    runs: tuple[Mapping[str, Any], ...]  # oldest first, of every origin
    flips: tuple[Mapping[str, Any], ...]


class DeepPart(NamedTuple):
    """What deep runs of a cell in one release have come to."""

    asked: bool
    passed: bool  # in every run: what is not sure is asked again


class Cells:
    """What readers ask; ``CellsWriter`` adds what changes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.traces = Traces(db)

    def ids(self) -> list[str]:
        return names(self._db, "SELECT id FROM cells ORDER BY number")

    def subject_and_runtime(self, cell_id: str) -> tuple[Subject, Runtime]:
        """Return what the cell probes, and in which runtime."""
        rows = select(
            self._db,
            "SELECT subjects.*, cells.runtime FROM subjects"
            " JOIN cells ON cells.subject_id = subjects.id WHERE cells.id = ?",
            (cell_id,),
        )
        return from_row(Subject, rows[0]), Runtime(rows[0]["runtime"])

    def detail(self, cell_id: str) -> CellDetail:
        row = first_row(self._db, "SELECT * FROM cells WHERE id = ?", cell_id)
        if row is None:
            raise UnknownName("cell", cell_id, self.ids(), hint="`settle status` lists the cells")
        return CellDetail(
            id=cell_id,
            subject=self.subject_and_runtime(cell_id)[0],
            row=row,
            days=tuple(self.days(cell_id)),
            runs=tuple(select(self._db, "SELECT * FROM runs WHERE cell_id = ? ORDER BY started_at, rowid", (cell_id,))),
            flips=tuple(select(self._db, "SELECT * FROM flips WHERE cell_id = ? ORDER BY day", (cell_id,))),
        )

    # runs

    def run(self, name: str) -> Row:
        """Return the row of the run whose id begins with ``name``. Raises UnknownName unless exactly one does."""
        begins = "SELECT * FROM runs WHERE id >= ? AND id < ?"
        rows = select(self._db, begins, (name, name + "\N{REPLACEMENT CHARACTER}")) if name else []
        if len(rows) != 1:
            hint = f"{len(rows)} runs begin with that" if rows else "`settle show CELL` lists a cell's runs"
            raise UnknownName("run", name, names(self._db, "SELECT id FROM runs"), hint=hint)
        return rows[0]

    def surroundings(self, run: Row) -> tuple[Row, Row | None, Row | None]:
        """Return the resolution of a run, its session and how that ended; None without one, and before its end."""
        session = run["session_id"]
        return (
            select(self._db, "SELECT * FROM resolutions WHERE id = ?", (run["resolution_id"],))[0],
            first_row(self._db, "SELECT * FROM sessions WHERE id = ?", session),
            first_row(self._db, "SELECT * FROM endings WHERE session_id = ?", session),
        )

    def run_to_show(self, cell_id: str) -> str | None:
        """Return the id of the run that decided the cell's latest day; of one without days, the latest by hand."""
        of_a_day = "SELECT run_id AS id FROM days WHERE cell_id = ? ORDER BY day DESC LIMIT 1"
        by_hand = "SELECT id FROM runs WHERE cell_id = ? ORDER BY day DESC, started_at DESC, rowid DESC LIMIT 1"
        row = first_row(self._db, of_a_day, cell_id) or first_row(self._db, by_hand, cell_id)
        return row["id"] if row else None

    def recorded_run(self, run_id: str) -> RecordedRun:
        return from_row(RecordedRun, select(self._db, f"{_RECORDED} WHERE runs.id = ?", (run_id,))[0])

    def recorded_runs(self) -> list[RecordedRun]:
        """Return every run, in the order of recording."""
        return [from_row(RecordedRun, row) for row in select(self._db, f"{_RECORDED} ORDER BY runs.number")]

    def checks(self, run_ids: Iterable[str]) -> Mapping[str, list[CheckResult]]:
        """Return the checks of each run, in the order in which they were asked."""
        checks: dict[str, list[CheckResult]] = defaultdict(list)
        wanted = "SELECT * FROM checks WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, position"
        for row in select(self._db, wanted, [json.dumps(list(run_ids))]):
            checks[row["run_id"]].append(from_row(CheckResult, row))
        return checks

    def checks_of(self, run_id: str) -> tuple[CheckResult, ...]:
        return tuple(self.checks([run_id]).get(run_id, ()))

    def facts(self, run_id: str) -> dict[str, Any]:
        return self._fact_values("facts.run_id = ?", [run_id]).get(run_id, {})

    def facts_named(self, name: str, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the value of one fact, by run."""
        where = "facts.run_id IN (SELECT value FROM json_each(?)) AND facts.name = ?"
        facts = self._fact_values(where, [json.dumps(list(run_ids)), name])
        return {run: values[name] for run, values in facts.items()}

    def adhoc_runs(self, cell_id: str, day: date) -> list[DayRun]:
        where = "cell_id = ? AND day = ? AND origin = 'adhoc'"
        return [run for _, run in self._runs(where, (cell_id, day.isoformat()))]

    def adhoc_runs_of_version(self, cell_id: str, version: str, installed: InstalledAsOf) -> list[tuple[date, DayRun]]:
        where = "cell_id = ? AND version = ? AND installed = ? AND origin = 'adhoc'"
        runs = self._runs(where, (cell_id, version, str(installed)))
        return [(date.fromisoformat(row["day"]), run) for row, run in runs]

    def adhoc_versions(self, cell_id: str) -> list[tuple[str, InstalledAsOf]]:
        """Return each version that was asked by hand and how it was installed, as of its release day first."""
        sql = "SELECT DISTINCT version, installed FROM runs WHERE cell_id = ? AND origin = 'adhoc' ORDER BY installed"
        return [(row["version"], InstalledAsOf(row["installed"])) for row in select(self._db, sql, (cell_id,))]

    def works_on_its_release_day(self, cell_id: str, version: str, fingerprint: Fingerprint) -> bool:
        """Return whether these files work, by this suite, in the version with the packages of its release day."""
        sql = (
            "SELECT 1 FROM answers JOIN runs ON runs.id = run_id WHERE answers.cell_id = ? AND answers.version = ?"
            " AND answers.installed = ? AND verdict = 'works' AND suite = ? AND subject_digest = ?"
        )
        key = (cell_id, version, str(InstalledAsOf.RELEASE_DAY), fingerprint.suite, fingerprint.subject)
        return bool(select(self._db, sql, key))

    def control_runs(
        self, cell_id: str, day: date, origin: Origin, suite: str
    ) -> list[tuple[Subject, Runtime, list[DayRun]]]:
        """Return, for each control of the cell's runtime, channel and platform, its runs of the day with the suite."""
        rows = select(
            self._db,
            "SELECT control.id AS cell_id, control.runtime, subjects.* FROM cells"
            " JOIN cells AS control USING (runtime, channel, platform)"
            " JOIN subjects ON subjects.id = control.subject_id WHERE cells.id = ? AND subjects.control",
            (cell_id,),
        )
        where, same = "cell_id = ? AND day = ? AND origin = ? AND suite = ?", (day.isoformat(), str(origin), suite)
        return [
            (
                from_row(Subject, row),
                Runtime(row["runtime"]),
                [run for _, run in self._runs(where, (row["cell_id"], *same))],
            )
            for row in rows
        ]

    def was_probed(self, cell_id: str, day: date, origin: Origin) -> bool:
        sql = "SELECT 1 FROM runs WHERE cell_id = ? AND day = ? AND origin = ? AND purpose IN ('probe', 'confirm')"
        return bool(select(self._db, f"{sql} LIMIT 1", (cell_id, day.isoformat(), str(origin))))

    def was_tried(self, cell_id: str, version: str, subject_digest: str) -> bool:
        """Return whether a release has been probed with these files of the cell."""
        sql = "SELECT 1 FROM runs WHERE cell_id = ? AND version = ? AND subject_digest = ? LIMIT 1"
        return bool(select(self._db, sql, (cell_id, version, subject_digest)))

    def deep_part(self, cell_id: str, version: str, *, suite: str, subject_digest: str) -> DeepPart:
        """Return what is known of the deep part in a release, by this suite and with these files."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM checks WHERE run_id = runs.id AND outcome NOT IN ('passed', 'skipped'))"
            " AS failed FROM runs WHERE cell_id = ? AND version = ? AND suite = ? AND subject_digest = ? AND deep"
        )
        rows = select(self._db, sql, (cell_id, version, suite, subject_digest))
        return DeepPart(asked=bool(rows), passed=bool(rows) and not any(row["failed"] for row in rows))

    def was_reprobed(self, cell_id: str, day: date, suite: str) -> bool:
        """Return whether a new suite has repeated the standing verdict on the day."""
        sql = "SELECT 1 FROM runs WHERE cell_id = ? AND day = ? AND purpose = 'suite' AND suite = ? LIMIT 1"
        return bool(select(self._db, sql, (cell_id, day.isoformat(), suite)))

    def affected_by(self, run: RunRecord, *, control: bool) -> set[str]:
        """Return the cells whose verdict a new run can change: its own, and those that its subject speaks about.

        A control speaks about every cell of its runtime and day; the subject of another runtime than the reference
        about those in which the same subject differs from it.
        """
        affected = {run.cell.id}
        if control:
            sql = (
                "SELECT DISTINCT cell_id AS id FROM runs JOIN cells ON cells.id = cell_id"
                " WHERE day = ? AND origin = ? AND runtime = ? AND platform = ?"
            )
            key = (run.day.isoformat(), str(run.origin), str(run.cell.runtime), str(run.cell.platform))
            affected |= {row["id"] for row in select(self._db, sql, key)}
        if run.cell.runtime is not REFERENCE:
            sql = (
                "SELECT DISTINCT cells.id FROM cells JOIN runs ON runs.cell_id = cells.id"  # noqa: S608 - the constant
                f" JOIN facts ON facts.run_id = runs.id AND facts.name = '{COMPARED}' WHERE cells.subject_id = ?"
            )  # the name spelt out, or its index is not used
            affected |= {row["id"] for row in select(self._db, sql, (run.cell.subject_id,))}
        return affected

    # days

    def day_facts(self, cell_id: str, *, since: date = FIRST_DAY, until: date = date.max) -> list[DayFacts]:
        """Return what happened to the cell, a value a day; adhoc runs are no part of its history."""
        within = (cell_id, since.isoformat(), until.isoformat())
        runs: dict[date, list[DayRun]] = defaultdict(list)
        for row, run in self._runs("cell_id = ? AND day BETWEEN ? AND ? AND origin != 'adhoc'", within):
            runs[date.fromisoformat(row["day"])].append(run)
        carries: dict[date, list[Carry]] = defaultdict(list)
        for row in select(self._db, "SELECT * FROM carries WHERE cell_id = ? AND day BETWEEN ? AND ?", within):
            source = date.fromisoformat(row["source_day"])
            carries[date.fromisoformat(row["day"])].append(Carry(Origin(row["origin"]), source))
        return [DayFacts(day, tuple(runs[day]), tuple(carries[day])) for day in sorted({*runs, *carries})]

    def day(self, cell_id: str, day: date) -> Day | None:
        row = first_row(self._db, "SELECT * FROM days WHERE cell_id = ? AND day = ?", cell_id, day.isoformat())
        if row is None:
            return None
        key = (cell_id, row["carried_from"] or row["day"])
        rungs = select(self._db, "SELECT * FROM day_rungs WHERE cell_id = ? AND day = ? ORDER BY step", key)
        return judged_day(row, rungs)

    def days(self, cell_id: str) -> list[Day]:
        """Return every day of the cell, oldest first."""
        rungs: dict[str, list[Row]] = defaultdict(list)
        for row in select(self._db, "SELECT * FROM day_rungs WHERE cell_id = ? ORDER BY day, step", (cell_id,)):
            rungs[row["day"]].append(row)
        days = select(self._db, "SELECT * FROM days WHERE cell_id = ? ORDER BY day", (cell_id,))
        return [judged_day(row, rungs[row["carried_from"] or row["day"]]) for row in days]

    def days_since_known(self, cell_id: str, before: date) -> list[Day]:
        """Return the last day before a day whose verdict is known, and the unknown ones after it."""
        rows = select(
            self._db,
            "SELECT day FROM days WHERE cell_id = ?1 AND day < ?2 AND day >= coalesce((SELECT max(day) FROM days"
            "  WHERE cell_id = ?1 AND day < ?2 AND verdict != 'unknown'), '') ORDER BY day",
            (cell_id, before.isoformat()),
        )
        days = (self.day(cell_id, date.fromisoformat(row["day"])) for row in rows)
        return [day for day in days if day is not None]

    def verdicts(self) -> set[tuple[str, ...]]:
        """Return every day of every cell with its verdict, to compare before and after a rejudgement."""
        sql = "SELECT cell_id, day, verdict, coalesce(rung, ''), reason, signature, note FROM days"
        return {tuple(row) for row in self._db.execute(sql).fetchall()}

    def notes_on(self, run_ids: Iterable[str]) -> list[tuple[str, int, str, int]]:
        """Return note, cell, day and run, as numbers, of every day that one of these runs speaks for."""
        sql = (
            "SELECT note, cell, day_verdicts.day, run FROM day_verdicts JOIN runs ON runs.number = run"
            " WHERE runs.id IN (SELECT value FROM json_each(?))"
        )
        return self._db.execute(sql, (json.dumps(list(run_ids)),)).fetchall()

    # what earlier days leave for the notes on later ones

    def first_fact(self, name: str, cell_id: str, subject_digest: str, before: date) -> Row | None:
        """Return day, version, suite and value of a fact on the first day on which these files worked."""
        rows = select(
            self._db,
            f"SELECT days.day, days.version, days.suite, {VALUE} AS value FROM days"  # noqa: S608 - the constant
            " JOIN facts ON facts.run_id = days.run_id JOIN runs ON runs.id = days.run_id"
            " JOIN cells ON cells.id = days.cell_id"
            " WHERE days.cell_id = ? AND days.day < ? AND days.subject_digest = ? AND days.verdict = 'works'"
            " AND carried_from IS NULL AND facts.name = ? ORDER BY days.day LIMIT 1",
            (cell_id, before.isoformat(), subject_digest, name),
        )
        return {**rows[0], "value": json.loads(rows[0]["value"])} if rows and rows[0]["value"] else None

    def last_passes(self, cell_id: str, subject_digest: str, before: date) -> dict[str, Passed]:
        """Return, by check, where these files of the cell passed it last."""
        rows = select(
            self._db,
            # with max() come the columns of the row that has it
            "SELECT checks.name, max(days.day) AS day, days.version, days.suite FROM days"
            " JOIN checks ON checks.run_id = days.run_id WHERE days.cell_id = ? AND days.day < ? AND subject_digest = ?"
            " AND days.verdict != 'unknown' AND carried_from IS NULL AND outcome = 'passed' GROUP BY checks.name",
            (cell_id, before.isoformat(), subject_digest),
        )
        return {row["name"]: from_row(Passed, row) for row in rows}

    # the reference

    def goldens(self, subject_digest: str) -> Sequence[Row]:
        """Return everything that was pinned for a subject's files, the latest first."""
        sql = "SELECT * FROM goldens WHERE subject_digest = ? ORDER BY day DESC, run_id"
        return select(self._db, sql, (subject_digest,))

    def golden(self, subject_digest: str, *, with_trace: bool) -> dict[str, Any] | None:
        """Return what was pinned last for a subject's files, whether it stands or not; None if nothing was."""
        return next((pinned(row, with_trace=with_trace) for row in self.goldens(subject_digest)), None)

    def runs_with_fact(self, name: str, run_ids: Iterable[str]) -> list[str]:
        """Return those of the runs, in order, that have recorded a fact."""
        ids = list(run_ids)
        rows = select(
            self._db,
            "SELECT run_id FROM facts WHERE name = ? AND run_id IN (SELECT value FROM json_each(?))",
            (name, json.dumps(ids)),
        )
        having = {row["run_id"] for row in rows}
        return [run for run in ids if run in having]

    def differing_answers(self, subject_digest: str) -> list[tuple[str, Any, Any]]:
        """Return runtime, answer and evidence of every run that differs from the reference on these files."""
        rows = select(
            self._db,
            "SELECT cells.runtime, facts.value, checks.evidence FROM runs JOIN cells ON cells.id = runs.cell_id"  # noqa: S608 - the constant
            f" JOIN facts ON facts.run_id = runs.id AND facts.name = '{COMPARED}'"  # inline, or its index is unused
            " JOIN checks ON checks.run_id = runs.id AND checks.name = ?"
            " WHERE runs.subject_digest = ? ORDER BY runs.started_at, runs.rowid",
            (MATCHES, subject_digest),
        )
        return [(row["runtime"], json.loads(row["value"]), json.loads(row["evidence"] or "{}")) for row in rows]

    def _runs(self, where: str, parameters: Iterable[str]) -> list[tuple[Row, DayRun]]:
        """Return runs, oldest first; rowid decides which of two with one time stamp was recorded first."""
        sql = f"SELECT * FROM runs WHERE {where} ORDER BY started_at, rowid"  # noqa: S608 - `where` is this module's
        rows = select(self._db, sql, parameters)
        checks = self.checks(row["id"] for row in rows)
        return [(row, day_run(row, checks.get(row["id"], []))) for row in rows]

    def _fact_values(self, where: str, parameters: Iterable[str]) -> dict[str, dict[str, Any]]:
        rows = select(
            self._db,
            f"SELECT facts.run_id, name, {VALUE} AS value FROM facts JOIN runs ON runs.id = facts.run_id"  # noqa: S608 - the constant, and as above
            f" JOIN cells ON cells.id = runs.cell_id WHERE {where}",
            parameters,
        )
        values: dict[str, dict[str, Any]] = defaultdict(dict)
        for row in rows:
            if row["value"]:
                values[row["run_id"]][row["name"]] = json.loads(row["value"])
        return values


def pinned(row: Row, *, with_trace: bool) -> dict[str, Any]:
    """Return a pinned answer as a probe is given it.

    Without its trace it only names the release, for a runtime that does not compare with it.
    """
    named = {key: row[key] for key in ("runtime", "version", "day")}
    return {**named, **(json.loads(row["trace"]) if with_trace else {})}
