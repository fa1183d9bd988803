"""What was found of published models: recorded as it was seen, and asked for by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from monitor.discovery.changes import ModelState, Standing
from monitor.store.recording import stamp, write_models, write_subjects
from monitor.store.rows import rows
from monitor.words import Model, ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlite_utils import Database

    from monitor.discovery.changes import Part
    from monitor.store.archive import Archive
    from monitor.words import Subject


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit of a model with its tree, path to blob id, and what differs from the one before."""

    revision: str
    committed_at: datetime
    changed: Sequence[Part]
    tree: Mapping[str, str]
    files: Mapping[str, bytes | str] = field(default_factory=dict)  # small ones, or why they may not be read


@dataclass(frozen=True, slots=True)
class Listing:
    name: str
    parameters: int | None
    pipeline_tag: str
    parent: str
    gated: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A model under watch, with what its states come to."""

    model_id: str
    source: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class PublishedModels:
    """The tables of published models. Whoever writes holds the writer's lock; a reader's connection refuses to."""

    db: Database
    archive: Archive

    # questions

    def watched(self) -> dict[str, Watched]:
        """Return every model that was ever discovered on a hub, by its id here."""
        standing: dict[str, Standing] = {}
        for row in rows(self.db, "SELECT model_id, state, detail FROM model_states ORDER BY id"):
            before = standing.get(row["model_id"], Standing())
            standing[row["model_id"]] = before.after(ModelState(row["state"]), row["detail"])
        found = rows(self.db, "SELECT model_id, source FROM discoveries WHERE source NOT LIKE 'folder:%'")
        return {
            row["model_id"]: Watched(row["model_id"], row["source"], standing.get(row["model_id"], Standing()))
            for row in found
        }

    def model(self, model_id: str) -> Model | None:
        found = rows(self.db, "SELECT * FROM models WHERE id = ?", (model_id,))
        return _model(found[0]) if found else None

    def revisions(self, model_id: str) -> list[str]:
        """Return the commits that were seen, newest first."""
        found = rows(self.db, "SELECT revision FROM revisions WHERE model_id = ? ORDER BY id DESC", (model_id,))
        return [row["revision"] for row in found]

    def tree(self, model_id: str, revision: str) -> dict[str, str]:
        sql = "SELECT tree_digest FROM revisions WHERE model_id = ? AND revision = ?"
        found = rows(self.db, sql, (model_id, revision))
        kept = self.archive.read(found[0]["tree_digest"]) if found and found[0]["tree_digest"] else None
        return dict(json.loads(kept)) if kept else {}

    def files(self, model_id: str) -> tuple[str, dict[str, bytes], dict[str, str]]:
        """Return the newest revision of which files are kept, those files, and why others may not be read."""
        found = rows(
            self.db,
            "SELECT * FROM published_files WHERE model_id = ?1 AND revision = (SELECT revision FROM revisions"
            " WHERE model_id = ?1 AND revision IN (SELECT revision FROM published_files WHERE model_id = ?1)"
            " ORDER BY id DESC LIMIT 1)",
            (model_id,),
        )
        kept = {row["path"]: self.archive.read(row["digest"]) or b"" for row in found if not row["problem"]}
        problems = {row["path"]: row["problem"] for row in found if row["problem"] and row["path"] not in kept}
        return found[0]["revision"] if found else "", kept, problems

    def without_popularity(self, day: date) -> list[str]:
        """Return models, longest without first, that nobody has asked about on this day."""
        found = rows(
            self.db,
            "SELECT discoveries.model_id FROM discoveries LEFT JOIN popularity USING (model_id)"
            " WHERE source NOT LIKE 'folder:%' GROUP BY discoveries.model_id"
            " HAVING coalesce(max(day), '') < ? ORDER BY coalesce(max(day), ''), discoveries.model_id",
            (day.isoformat(),),
        )
        return [row["model_id"] for row in found]

    def to_derive(self, release: str) -> list[str]:
        """Return the models whose files wait for a miniature: never tried, revised since, or not with this release."""
        found = rows(
            self.db,
            "SELECT discoveries.model_id FROM discoveries"
            " JOIN (SELECT model_id, max(at) AS at FROM published_files GROUP BY model_id) AS kept USING (model_id)"
            " LEFT JOIN derivations AS tried ON tried.id ="
            " (SELECT max(id) FROM derivations WHERE model_id = discoveries.model_id)"
            " WHERE tried.id IS NULL OR kept.at > tried.at OR (tried.reason != '' AND tried.release != ?)"
            " ORDER BY discoveries.first_seen, discoveries.model_id",
            (release,),
        )
        return [row["model_id"] for row in found]

    def due(self, what: Iterable[str], now: datetime) -> list[str]:
        """Return what is to be asked now, of the things that can be asked."""
        waiting = {row["what"] for row in rows(self.db, "SELECT what FROM polls WHERE due_at > ?", (stamp(now),))}
        return [one for one in what if one not in waiting]

    def rows_of_watched(self) -> list[dict[str, Any]]:
        """Return, a row a model, what was discovered, where, and how it stands."""
        return rows(
            self.db,
            "SELECT models.*, discoveries.source, discoveries.first_seen, listings.name, listings.parameters,"
            " listings.parent, subjects.id AS subject, subjects.first_known, subjects.qualified,"
            " (SELECT reason FROM derivations WHERE model_id = models.id ORDER BY derivations.id DESC LIMIT 1)"
            " AS underived,"
            " (SELECT state FROM model_states WHERE model_id = models.id ORDER BY model_states.id DESC LIMIT 1)"
            " AS state"
            " FROM discoveries JOIN models ON models.id = discoveries.model_id"
            " LEFT JOIN listings ON listings.model_id = models.id"
            " LEFT JOIN subjects ON subjects.model_id = models.id AND subjects.id = models.id"
            " ORDER BY discoveries.first_seen, models.id",
        )

    # facts

    def record_discovery(self, model: Model, source: str, now: datetime, *, created_at: datetime) -> bool:
        """Record a model that is seen for the first time; return False where it has been seen before."""
        with self.db.atomic():
            write_models(self.db, [model])
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO discoveries VALUES (?, ?, ?, ?)",
                (model.id, source, stamp(now), stamp(created_at)),
            )
        return cursor.rowcount == 1

    def record_model(self, model: Model) -> None:
        with self.db.atomic():
            write_models(self.db, [model])

    def record_states(self, model_id: str, states: Iterable[tuple[ModelState, str]], now: datetime) -> None:
        with self.db.atomic():
            for state, detail in states:
                self.db.execute(
                    "INSERT INTO model_states (model_id, at, state, detail) VALUES (?, ?, ?, ?)",
                    (model_id, stamp(now), str(state), detail),
                )

    def record_listing(self, model_id: str, one: Listing) -> None:
        with self.db.atomic():
            self.db.execute(
                "INSERT OR REPLACE INTO listings VALUES (?, ?, ?, ?, ?, ?)",
                (model_id, one.name, one.parameters, one.pipeline_tag, one.parent, one.gated),
            )

    def record_revisions(self, model_id: str, revisions: Sequence[Revision], now: datetime) -> None:
        """Record revisions, oldest first; their files reach the disk before the database names them."""
        kept = [(one, self.archive.keep(json.dumps(dict(one.tree)).encode())) for one in revisions]
        with self.db.atomic():
            for one, tree_digest in kept:
                self.db.execute(
                    "INSERT OR IGNORE INTO revisions"
                    " (model_id, revision, committed_at, first_seen, changed, tree_digest) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        model_id,
                        one.revision,
                        stamp(one.committed_at),
                        stamp(now),
                        json.dumps([str(part) for part in one.changed]),
                        tree_digest,
                    ),
                )
                self.record_files(model_id, one.revision, one.files, now)

    def record_files(self, model_id: str, revision: str, files: Mapping[str, bytes | str], now: datetime) -> None:
        """Keep small files of a revision, or why they may not be read."""
        kept = [
            (path, self.archive.keep(found), "") if isinstance(found, bytes) else (path, "", found)
            for path, found in files.items()
        ]
        with self.db.atomic():
            self.db.conn.executemany(
                "INSERT OR IGNORE INTO published_files VALUES (?, ?, ?, ?, ?, ?)",
                [(model_id, revision, path, digest, problem, stamp(now)) for path, digest, problem in kept],
            )

    def record_popularity(self, model_id: str, day: date, *, downloads: int, likes: int, derived: int | None) -> None:
        with self.db.atomic():
            self.db.execute(
                "INSERT OR IGNORE INTO popularity VALUES (?, ?, ?, ?, ?)",
                (model_id, day.isoformat(), downloads, likes, derived),
            )

    def record_derivation(
        self,
        model_id: str,
        revision: str,
        now: datetime,
        *,
        release: str,
        reason: str = "",
        subject: Subject | None = None,
    ) -> None:
        """Record that a miniature was made, with the subject it is, or why none could be made."""
        with self.db.atomic():
            if subject is not None:
                write_subjects(self.db, [subject])
            self.db.execute(
                "INSERT INTO derivations (model_id, revision, at, release, subject_digest, reason)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (model_id, revision, stamp(now), release, subject.digest if subject else "", reason),
            )

    def qualify(self, subject_id: str, digest: str) -> None:
        """Mark a discovered subject as one that has passed with these files; the caller holds the transaction."""
        self.db.execute(
            "UPDATE subjects SET qualified = 1 WHERE id = ? AND digest = ? AND NOT qualified"
            " AND EXISTS (SELECT 1 FROM derivations WHERE subject_digest = digest)",
            (subject_id, digest),
        )

    def record_poll(self, what: str, now: datetime, *, due: datetime, trouble: str = "") -> None:
        with self.db.atomic():
            self.db.execute("INSERT OR REPLACE INTO polls VALUES (?, ?, ?, ?)", (what, stamp(now), stamp(due), trouble))


def _model(row: Mapping[str, Any]) -> Model:
    return Model(
        id=row["id"],
        family=row["family"],
        architecture=row["architecture"],
        kind=ModelKind(row["kind"]),
        organisation=row["organisation"],
        released=date.fromisoformat(row["released"]) if row["released"] else None,
        released_source=row["released_source"],
        license=row["license"],
        note=row["note"],
        control=bool(row["control"]),
    )
