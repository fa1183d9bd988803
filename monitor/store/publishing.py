"""Records what is known of published models, as it was seen; each method is one transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.store.published import PublishedModels
from monitor.store.recording import stamp, write_models, write_subjects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from monitor.domain import Model, Subject
    from monitor.sources.changes import ModelState
    from monitor.store.published import KeptFiles, Listing, Revision


@dataclass(frozen=True, slots=True)
class Publishing(PublishedModels):
    """The same tables for the one writer."""

    def record_discovery(self, model: Model, source: str, now: datetime, *, created_at: datetime) -> bool:
        """Record a model that is seen for the first time; return False where it has been seen before."""
        with self.db.atomic():
            write_models(self.db, [model])
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO discoveries VALUES (?, ?, ?, ?)",
                (model.id, source, stamp(now), stamp(created_at)),
            )
        return cursor.rowcount == 1

    def record_states(self, model_id: str, states: Iterable[tuple[ModelState, str]], now: datetime) -> None:
        with self.db.atomic():
            for state, detail in states:
                self.db.execute(
                    "INSERT INTO model_states (model_id, at, state, detail) VALUES (?, ?, ?, ?)",
                    (model_id, stamp(now), str(state), detail),
                )

    def record_listing(self, model_id: str, listing: Listing) -> None:
        with self.db.atomic():
            self.db.execute(
                "INSERT OR REPLACE INTO hub_listings VALUES (?, ?, ?, ?, ?, ?)",
                (model_id, listing.name, listing.parameters, listing.pipeline_tag, listing.parent, listing.gated),
            )

    def record_revisions(
        self, model_id: str, revisions: Sequence[Revision], now: datetime, *, model: Model | None = None
    ) -> None:
        """Record revisions, oldest first, and what they make known of the model.

        Their files reach the disk before the database names them.
        """
        kept = [(revision, self.archive.keep(json.dumps(dict(revision.tree)).encode())) for revision in revisions]
        with self.db.atomic():
            write_models(self.db, [model] if model else [])
            for revision, tree_digest in kept:
                self.db.execute(
                    "INSERT OR IGNORE INTO revisions"
                    " (model_id, revision, committed_at, first_seen, changed, tree_digest) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        model_id,
                        revision.revision,
                        stamp(revision.committed_at),
                        stamp(now),
                        json.dumps([str(part) for part in revision.changed]),
                        tree_digest,
                    ),
                )
                self.record_files(model_id, revision.revision, revision.files, now)

    def record_files(
        self,
        model_id: str,
        revision: str,
        files: Mapping[str, bytes | str],
        now: datetime,
        *,
        model: Model | None = None,
    ) -> None:
        """Keep small files of a revision, or why they may not be read, and what they make known of the model."""
        kept = [
            (path, self.archive.keep(content), "") if isinstance(content, bytes) else (path, "", content)
            for path, content in files.items()
        ]
        with self.db.atomic():
            write_models(self.db, [model] if model else [])
            self.db.conn.executemany(
                "INSERT OR IGNORE INTO published_files (model_id, revision, path, digest, problem, at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(model_id, revision, path, digest, problem, stamp(now)) for path, digest, problem in kept],
            )

    def record_layout(
        self,
        model_id: str,
        revision: str,
        now: datetime,
        *,
        layout: bytes = b"",
        changed: Sequence[str] = (),
        problem: str = "",
    ) -> None:
        """Record the layout of a revision and what in it is new, or why it cannot be read."""
        digest = self.archive.keep(layout)
        with self.db.atomic():
            self.db.execute(
                "INSERT OR IGNORE INTO layouts (model_id, revision, at, digest, changed, problem)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (model_id, revision, stamp(now), digest, json.dumps(list(changed)), problem),
            )

    def record_comparison(
        self, model_id: str, revision: str, subject_digest: str, now: datetime, differences: Sequence[str] | None
    ) -> None:
        """Record how a layout differs from the miniature's, None where the miniature has no tensors."""
        sentences = None if differences is None else json.dumps(list(differences))
        with self.db.atomic():
            self.db.execute(
                "INSERT OR IGNORE INTO layout_comparisons (model_id, revision, subject_digest, at, differences)"
                " VALUES (?, ?, ?, ?, ?)",
                (model_id, revision, subject_digest, stamp(now), sentences),
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
        made_from: KeptFiles,
        now: datetime,
        *,
        release: str,
        reason: str = "",
        subject: Subject | None = None,
        description: bytes = b"",
    ) -> None:
        """Record that a miniature was made, with the subject it is, or why none could be made."""
        digest, kept = subject.digest if subject else "", self.archive.keep(description)
        with self.db.atomic():
            if subject is not None:
                write_subjects(self.db, [subject])
            self.db.execute(
                "INSERT INTO derivations"
                " (model_id, revision, files_id, at, release, subject_digest, description, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (model_id, made_from.revision, made_from.newest_id, stamp(now), release, digest, kept, reason),
            )

    def record_fetch(
        self, model_id: str, revision: str, now: datetime, *, subject: Subject | None = None, reason: str = ""
    ) -> None:
        """Record that a revision's weights were fetched, with the subject they are, or why there are none to fetch."""
        with self.db.atomic():
            if subject is not None:
                write_subjects(self.db, [subject])
            self.db.execute(
                "INSERT OR IGNORE INTO fetches VALUES (?, ?, ?, ?, ?)",
                (model_id, revision, stamp(now), subject.digest if subject else "", reason),
            )

    def qualify(self, subject_id: str, digest: str) -> None:
        """Mark a miniature as one that has passed with these files; the caller holds the transaction."""
        self.db.execute(
            "UPDATE subjects SET qualified = 1 WHERE id = ? AND digest = ? AND NOT qualified AND form = 'miniature'",
            (subject_id, digest),
        )

    def record_poll(self, what: str, now: datetime, *, due: datetime, trouble: str = "") -> None:
        with self.db.atomic():
            self.db.execute(
                "INSERT OR REPLACE INTO hub_polls VALUES (?, ?, ?, ?)", (what, stamp(now), stamp(due), trouble)
            )
