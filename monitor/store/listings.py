"""Remembers what the sources of releases list, what happened to it since, and when each of them was asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from monitor.domain import Release
from monitor.sources.changes import ReleaseEvent, moved_refs, ref_events, release_events
from monitor.store.recording import stamp
from monitor.store.rows import from_row, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlite_utils import Database

    from monitor.domain import Runtime
    from monitor.sources.changes import Refs


@dataclass(frozen=True, slots=True)
class Poll:
    """When a source was asked last, and since when it has not answered."""

    source: str
    asked_at: datetime
    answered_at: datetime | None
    fault: str  # "" when it answered
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one listing brought: new releases, and what happened to known ones."""

    releases: tuple[Release, ...] = ()
    events: tuple[ReleaseEvent, ...] = ()


class Listings:
    """The questions and records about releases, on the database of their store; the store holds the transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def record_releases(self, listed: Sequence[Release], seen_at: datetime) -> Learnt:
        """Record a listing. The day of a release is the earliest that any source names: a copy may come later."""
        known = {runtime: self._known(runtime) for runtime in {release.runtime for release in listed}}
        events = tuple(
            event
            for runtime, before in known.items()
            for event in release_events(
                before, (release for release in listed if release.runtime is runtime), seen_at=seen_at
            )
        )
        self._db.conn.executemany(
            "INSERT INTO releases (runtime, version, channel, published_at, yanked, requires_python, wheels,"
            " has_sources, compatibility, revision, first_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (runtime, version) DO UPDATE SET channel = excluded.channel, yanked = excluded.yanked,"
            " published_at = min(published_at, excluded.published_at), requires_python = excluded.requires_python,"
            " wheels = coalesce(excluded.wheels, wheels), has_sources = excluded.has_sources,"
            " compatibility = excluded.compatibility, revision = excluded.revision",
            [_row(release, seen_at) for release in listed],
        )
        self._write(events)
        return Learnt(tuple(release for release in listed if release.version not in known[release.runtime]), events)

    def record_refs(self, project: str, repository: str, listed: Refs, seen_at: datetime) -> Learnt:
        """Record where tags and branches point now, where that is not known yet."""
        known = self.refs(repository)
        moved = moved_refs(known, listed)
        events = tuple(ref_events(project, known, moved, seen_at=seen_at))
        self._db.conn.executemany(
            "INSERT INTO refs VALUES (?, ?, ?, ?)",
            [(repository, name, target, stamp(seen_at)) for name, target in moved.items()],
        )
        self._write(events)
        return Learnt(events=events)

    def record_poll(self, source: str, at: datetime, fault: str = "") -> None:
        """Record that a source was asked, and that it answered unless there is a fault."""
        now = stamp(at)
        self._db.execute(
            "INSERT INTO polls VALUES (?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET asked_at = excluded.asked_at,"
            " answered_at = coalesce(excluded.answered_at, answered_at), fault = excluded.fault,"
            " failing_since = CASE WHEN excluded.fault = '' THEN NULL"
            " ELSE coalesce(failing_since, excluded.failing_since) END",
            (source, now, None if fault else now, fault, now if fault else None),
        )

    def polls(self) -> dict[str, Poll]:
        """Return, by source, when each was asked last."""
        return {row["source"]: from_row(Poll, row) for row in select(self._db, "SELECT * FROM polls")}

    def refs(self, repository: str) -> dict[str, str]:
        """Return where every tag and branch that was ever seen points now."""
        # the row written last, whatever the clock shows since: a clock set back must not make old news new again
        sql = "SELECT name, target, max(rowid) FROM refs WHERE repository = ? GROUP BY name"
        return {row["name"]: row["target"] for row in select(self._db, sql, (repository,))}

    def first_seen(self, repository: str, name: str) -> datetime | None:
        """Return when a tag or branch was seen first: the best there is, for a listing of refs has no days."""
        sql = "SELECT min(seen_at) AS first FROM refs WHERE repository = ? AND name = ?"
        first = select(self._db, sql, (repository, name))[0]["first"]
        return datetime.fromisoformat(first) if first else None

    def events(self, project: str) -> list[ReleaseEvent]:
        """Return what happened to a project's releases and tags, in the order in which it was seen."""
        listed = select(self._db, "SELECT * FROM release_events WHERE project = ? ORDER BY seen_at, rowid", (project,))
        return [from_row(ReleaseEvent, row) for row in listed]

    def _known(self, runtime: Runtime) -> dict[str, Release]:
        listed = select(self._db, "SELECT * FROM releases WHERE runtime = ?", (str(runtime),))
        return {row["version"]: from_row(Release, row) for row in listed}

    def _write(self, events: Iterable[ReleaseEvent]) -> None:
        self._db.conn.executemany(
            "INSERT INTO release_events VALUES (?, ?, ?, ?, ?, ?)",
            [
                (event.project, event.version, str(event.kind), event.before, event.after, stamp(event.seen_at))
                for event in events
            ],
        )


def _row(release: Release, seen_at: datetime) -> tuple[Any, ...]:
    return (
        str(release.runtime),
        release.version,
        str(release.channel),
        stamp(release.published_at),
        release.yanked,
        release.requires_python,
        None if release.wheels is None else json.dumps(release.wheels),
        int(release.has_sources),
        str(release.compatibility),
        release.revision,
        stamp(seen_at),
    )
