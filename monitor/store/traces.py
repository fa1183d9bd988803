"""What releases answered over a subject's files: each distinct answer once, with the releases and runs that gave it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.judge.reference import TracedRelease
from monitor.store.rows import from_row, select
from monitor.store.text_pool import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sqlite_utils import Database


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a subject on one platform: only answers over these are compared."""

    subject_digest: str
    platform: str


@dataclass(frozen=True, slots=True)
class Answers:
    """All distinct answers over the same files. ``allowed`` is the largest difference that rounding explains."""

    values: Mapping[int, Any]  # as recorded, by number
    releases: Mapping[int, Sequence[TracedRelease]]
    allowed: float


class Traces:
    def __init__(self, db: Database) -> None:
        self._db = db

    def answers(self, files: Files, *, every: bool = False) -> Answers:
        """Return the answers of releases, or ``every`` answer, those of pinned combinations with others included."""
        releases: dict[int, list[TracedRelease]] = defaultdict(list)
        key = (files.subject_digest, files.platform)
        rows = select(self._db, "SELECT number, value FROM trace_values WHERE subject_digest = ? AND platform = ?", key)
        allowed = 0.0
        for row in select(
            self._db,
            "SELECT traces.* FROM traces JOIN trace_values ON number = answer"
            # with another package pinned by hand it is no release that anybody gets
            " WHERE subject_digest = ? AND platform = ? AND version NOT LIKE '% with %' ORDER BY day, version",
            key,
        ):
            releases[row["answer"]].append(from_row(TracedRelease, row))
            allowed = max(allowed, row["allowed"])
        numbers = {row["number"]: row["value"] for row in rows}
        values = {number: json.loads(value) for number, value in numbers.items() if every or number in releases}
        return Answers(values, releases, allowed)

    def unfit_runtimes(self, subject_digest: str) -> set[str]:
        """Return the runtimes that are known to differ on these files by a fault of their own."""
        rows = select(
            self._db,
            # any run with these files says what architecture they are
            "SELECT runtime FROM parity_causes WHERE NOT of_reference AND architecture = ("
            " SELECT architecture FROM trace_values JOIN run_traces ON answer = trace_values.number"
            " JOIN runs ON runs.number = run JOIN cells ON cells.id = cell_id"
            " JOIN subjects ON subjects.id = cells.subject_id WHERE trace_values.subject_digest = ? LIMIT 1)",
            [subject_digest],
        )
        return {row["runtime"] for row in rows}

    def of_runs(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Return the number of each run's answer."""
        rows = select(
            self._db,
            "SELECT runs.id, answer FROM runs JOIN run_traces ON run = runs.number"
            " WHERE runs.id IN (SELECT value FROM json_each(?))",
            [json.dumps(list(run_ids))],
        )
        return {row["id"]: row["answer"] for row in rows}

    def cells_with(self, subject_digest: str) -> list[str]:
        """Return the cells that have a run over these files with an answer."""
        rows = select(
            self._db,
            "SELECT DISTINCT cell_id FROM trace_values JOIN run_traces ON answer = trace_values.number"
            " JOIN runs ON runs.number = run WHERE trace_values.subject_digest = ? ORDER BY cell_id",
            [subject_digest],
        )
        return [row["cell_id"] for row in rows]

    def package_of(self, environment: str, name: str) -> str:
        """Return the version of a package in an environment, "" where it is not known."""
        rows = select(self._db, "SELECT packages FROM environments WHERE digest = ?", [environment])
        return str(json.loads(rows[0]["packages"]).get(name, "")) if rows else ""

    def write_value(self, files: Files, value: Any) -> int:
        """Keep an answer; return its number."""
        text = json.dumps(value)
        key = (files.subject_digest, files.platform, digest_of(text))
        self._db.execute("INSERT OR IGNORE INTO trace_values VALUES (NULL, ?, ?, ?, ?)", (*key, text))
        sql = "SELECT number FROM trace_values WHERE subject_digest = ? AND platform = ? AND digest = ?"
        return int(self._db.execute(sql, key).fetchone()[0])

    def write(self, run_id: str, answer: int, release: TracedRelease, allowed: float) -> bool:
        """Write whose answer it is; return whether the release had not given it before."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO traces VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                answer,
                str(release.runtime),
                release.version,
                release.reader,
                int(release.independent),
                allowed,
                release.day.isoformat(),
            ),
        )
        self._db.execute("INSERT OR IGNORE INTO run_traces SELECT number, ? FROM runs WHERE id = ?", (answer, run_id))
        return cursor.rowcount == 1

    def take_from(self, database: Path) -> None:
        """Take over the answers of another history, which say as much about the same files; its runs stay there."""
        self._db.execute("ATTACH ? AS other", (str(database.absolute()),))
        try:
            with self._db.atomic():
                self._db.execute(
                    "INSERT OR IGNORE INTO trace_values"
                    " SELECT NULL, subject_digest, platform, digest, value FROM other.trace_values ORDER BY number"
                )
                self._db.execute(
                    "INSERT OR IGNORE INTO traces"
                    " SELECT here.number, runtime, version, reader, independent, allowed, day FROM other.traces"
                    " JOIN other.trace_values AS there ON there.number = answer"
                    " JOIN main.trace_values AS here USING (subject_digest, platform, digest)"
                )
        finally:
            self._db.execute("DETACH other")
