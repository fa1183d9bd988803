"""What is known of published models, and the values that are recorded of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from monitor.domain import Model, Subject
from monitor.sources.changes import ModelState, Presence
from monitor.store.recording import stamp
from monitor.store.rows import from_row, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlite_utils import Database

    from monitor.sources.changes import ModelPart
    from monitor.store.archive import FileArchive


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit of a model with its tree, path to blob id, and what differs from the one before."""

    revision: str
    committed_at: datetime
    changed: Sequence[ModelPart]
    tree: Mapping[str, str]
    files: Mapping[str, bytes | str] = field(default_factory=dict)  # small ones, or why they may not be read


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """The small files that are kept of the newest revision with any, and why others may not be read."""

    revision: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    newest_id: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    name: str
    parameters: int | None
    pipeline_tag: str
    parent: str
    gated: str


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """A model under watch, with what its states come to."""

    model_id: str
    source: str
    presence: Presence


@dataclass(frozen=True, slots=True)
class PublishedModels:
    """What any number of readers may ask about published models."""

    db: Database
    archive: FileArchive

    def watched(self) -> dict[str, WatchedModel]:
        """Return every model that was ever discovered on a hub, by its id here."""
        presences: dict[str, Presence] = {}
        for row in select(self.db, "SELECT model_id, state, detail FROM model_states ORDER BY id"):
            before = presences.get(row["model_id"], Presence())
            presences[row["model_id"]] = before.after(ModelState(row["state"]), row["detail"])
        rows = select(self.db, "SELECT model_id, source FROM discoveries WHERE source NOT LIKE 'folder:%'")
        return {
            row["model_id"]: WatchedModel(row["model_id"], row["source"], presences.get(row["model_id"], Presence()))
            for row in rows
        }

    def subjects(self, name: str = "") -> list[Subject]:
        """Return every discovered subject, or those of a model or subject of this name in any case."""
        rows = select(
            self.db,
            "SELECT subjects.* FROM subjects JOIN discoveries USING (model_id)"
            " WHERE ?1 = '' OR lower(?1) IN (lower(subjects.id), lower(model_id)) ORDER BY subjects.id",
            (name,),
        )
        return [from_row(Subject, row) for row in rows]

    def first_seen(self, model_id: str) -> tuple[str, datetime]:
        """Return from which source, and when, a model was discovered."""
        (row,) = select(self.db, "SELECT source, first_seen FROM discoveries WHERE model_id = ?", (model_id,))
        return row["source"], datetime.fromisoformat(row["first_seen"])

    def answered(self, what: str) -> datetime | None:
        """Return when the latest query of a source was, None where there was none or it had trouble."""
        rows = select(self.db, "SELECT asked_at FROM hub_polls WHERE what = ? AND trouble = ''", (what,))
        return datetime.fromisoformat(rows[0]["asked_at"]) if rows else None

    def births(self) -> dict[str, date]:
        """Return, by model, the day of its first public weights, or else when it was first seen."""
        rows = select(
            self.db,
            "SELECT model_id, coalesce(models.released, substr(first_seen, 1, 10)) AS born FROM discoveries"
            " JOIN models ON models.id = model_id",
        )
        return {row["model_id"]: date.fromisoformat(row["born"]) for row in rows}

    def renamed(self) -> list[tuple[str, str]]:
        """Return, for every model that was ever renamed, its source and its present name."""
        rows = select(
            self.db,
            "SELECT source, detail, max(model_states.id) FROM model_states JOIN discoveries USING (model_id)"
            " WHERE state = 'renamed' GROUP BY model_id",
        )
        return [(row["source"], row["detail"]) for row in rows]

    def model(self, model_id: str) -> Model | None:
        rows = select(self.db, "SELECT * FROM models WHERE id = ?", (model_id,))
        return from_row(Model, rows[0]) if rows else None

    def revisions(self, model_id: str) -> list[str]:
        """Return the commits that were seen, newest first."""
        rows = select(self.db, "SELECT revision FROM revisions WHERE model_id = ? ORDER BY id DESC", (model_id,))
        return [row["revision"] for row in rows]

    def tree(self, model_id: str, revision: str) -> dict[str, str]:
        sql = "SELECT tree_digest FROM revisions WHERE model_id = ? AND revision = ?"
        rows = select(self.db, sql, (model_id, revision))
        kept = self.archive.read(rows[0]["tree_digest"]) if rows and rows[0]["tree_digest"] else None
        return dict(json.loads(kept)) if kept else {}

    def files(self, model_id: str) -> KeptFiles:
        rows = select(
            self.db,
            "SELECT * FROM published_files WHERE model_id = ?1 AND revision = (SELECT revision FROM revisions"
            " WHERE model_id = ?1 AND revision IN (SELECT revision FROM published_files WHERE model_id = ?1)"
            " ORDER BY id DESC LIMIT 1) ORDER BY id",
            (model_id,),
        )
        kept = {row["path"]: self.archive.read(row["digest"]) or b"" for row in rows if not row["problem"]}
        problems = {row["path"]: row["problem"] for row in rows if row["problem"] and row["path"] not in kept}
        return KeptFiles(rows[0]["revision"], kept, problems, rows[-1]["id"]) if rows else KeptFiles()

    def layout(self, model_id: str) -> tuple[str, bytes]:
        """Return the newest revision whose layout was tried to be read, and the newest layout that could be."""
        rows = select(self.db, "SELECT revision, digest FROM layouts WHERE model_id = ? ORDER BY id DESC", (model_id,))
        digest = next((row["digest"] for row in rows if row["digest"]), "")
        return rows[0]["revision"] if rows else "", (self.archive.read(digest) or b"") if digest else b""

    def layouts_to_compare(self) -> list[dict[str, Any]]:
        """Return the newest layouts that were not compared with the present miniature of the whole model."""
        return select(
            self.db,
            "SELECT layouts.model_id, revision, subjects.digest FROM layouts"
            " JOIN subjects ON subjects.id = layouts.model_id AND form = 'miniature'"
            " WHERE layouts.digest != ''"
            " AND layouts.id = (SELECT max(id) FROM layouts AS newest WHERE newest.model_id = layouts.model_id)"
            " AND NOT EXISTS (SELECT 1 FROM layout_comparisons AS done WHERE done.model_id = layouts.model_id"
            " AND done.revision = layouts.revision AND done.subject_digest = subjects.digest)",
        )

    def without_popularity(self, day: date) -> list[str]:
        """Return the models whose popularity is not known for this day, the longest without first."""
        rows = select(
            self.db,
            "SELECT discoveries.model_id FROM discoveries LEFT JOIN popularity USING (model_id)"
            " WHERE source NOT LIKE 'folder:%' GROUP BY discoveries.model_id"
            " HAVING coalesce(max(day), '') < ? ORDER BY coalesce(max(day), ''), discoveries.model_id",
            (day.isoformat(),),
        )
        return [row["model_id"] for row in rows]

    def to_derive(self, release: str) -> list[str]:
        """Return the models whose files wait for a miniature: never tried, revised since, or not with this release."""
        rows = select(
            self.db,
            "SELECT discoveries.model_id FROM discoveries"
            " JOIN (SELECT model_id, max(id) AS id FROM published_files GROUP BY model_id) AS kept USING (model_id)"
            " LEFT JOIN derivations AS tried ON tried.id ="
            " (SELECT max(id) FROM derivations WHERE model_id = discoveries.model_id)"
            " WHERE tried.id IS NULL OR kept.id > tried.files_id OR (tried.reason != '' AND tried.release != ?)"
            " ORDER BY discoveries.first_seen, discoveries.model_id",
            (release,),
        )
        return [row["model_id"] for row in rows]

    def fetched(self, names: Iterable[str]) -> dict[str, str | None]:
        """Return, by model, which weights its newest revision has: None never fetched, "" none to fetch.

        ``names`` are those of the models that are asked about: their ids here, or what the hub calls them now.
        """
        wanted = {name.lower() for name in names}
        digests = {
            (row["model_id"], row["revision"]): row["subject_digest"]
            for row in select(self.db, "SELECT * FROM fetches")
        }
        return {
            model_id: digests.get((model_id, newest))
            for model_id, watched in self.watched().items()
            if wanted & {model_id.lower(), watched.presence.name.lower()}
            for newest in self.revisions(model_id)[:1]
        }

    def descriptions(self) -> dict[str, str]:
        """Return, by the digest of each subject that was derived, where its description is kept."""
        rows = select(self.db, "SELECT subject_digest, description FROM derivations WHERE subject_digest != ''")
        return {row["subject_digest"]: row["description"] for row in rows}

    def due(self, what: Iterable[str], now: datetime, *, longest: timedelta) -> list[str]:
        """Return what is to be asked now, of the things that can be asked.

        A wait that is longer than ``longest``, or began in the future, was recorded by a clock that was ahead.
        """
        sql = "SELECT what FROM hub_polls WHERE asked_at <= ?1 AND due_at > ?1 AND due_at <= ?2"
        waiting = {row["what"] for row in select(self.db, sql, (stamp(now), stamp(now + longest)))}
        return [thing for thing in what if thing not in waiting]

    def rows_of_watched(self) -> list[dict[str, Any]]:
        """Return, a row a model, what was discovered, where, and how it stands."""
        return select(
            self.db,
            "SELECT models.*, discoveries.source, discoveries.first_seen, hub_listings.name, hub_listings.parameters,"
            " hub_listings.parent, subjects.id AS subject, subjects.first_known, subjects.qualified,"
            " (SELECT reason FROM derivations WHERE model_id = models.id ORDER BY derivations.id DESC LIMIT 1)"
            " AS underived,"
            " (SELECT state FROM model_states WHERE model_id = models.id ORDER BY model_states.id DESC LIMIT 1)"
            " AS state,"
            " (SELECT differences FROM layout_comparisons WHERE model_id = models.id ORDER BY id DESC LIMIT 1)"
            " AS unlike"
            " FROM discoveries JOIN models ON models.id = discoveries.model_id"
            " LEFT JOIN hub_listings ON hub_listings.model_id = models.id"
            " LEFT JOIN subjects ON subjects.model_id = models.id AND subjects.id = models.id"
            " ORDER BY discoveries.first_seen, models.id",
        )
