"""Keeps announcements and messages still to be sent, so that a crash anywhere neither loses nor doubles a message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.store.recording import stamp
from monitor.store.rows import from_row, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date, datetime

    from sqlite_utils import Database

BEGAN = "began"


_DETAILS = {
    "flip": 2,
    "withdrawn": 2,
    "flapping": 1,
    "calm": 1,
    "trouble": 1,
    "over": 1,
    "layout": 1,
    "unlike": 1,
}  # by kind
_ABOUT_CELLS = ("flip", "works", "stable", "flapping", "calm")


@dataclass(frozen=True, slots=True)
class AnnouncementKey:
    """Names an announcement, which is made once: its kind, its cell, model or trouble, and the change or moment."""

    kind: str
    about: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        separator = _separator(self.kind)
        return f"{self.kind}:{separator.join((self.about, *self.details))}"

    @classmethod
    def parse(cls, text: str) -> AnnouncementKey:
        kind, _, rest = text.partition(":")
        about, *details = rest.rsplit(_separator(kind), _DETAILS.get(kind, 0))
        return cls(kind, about, tuple(details))


def _separator(kind: str) -> str:
    return "@" if kind in ("trouble", "over") else ":"  # of troubles a moment follows, which has colons


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to one target."""

    id: int
    target: str
    severity: str
    title: str
    text: str
    html: str
    attempts: int
    may_have_arrived: bool


class Outbox:
    """What readers ask; ``OutboxWriter`` adds what changes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def began(self) -> str | None:
        """Return the moment at which alerts began, None where they have not."""
        rows = select(self._db, "SELECT at FROM announcements WHERE key = ?", (BEGAN,))
        return rows[0]["at"] if rows else None

    def announced(self, keys: Iterable[str]) -> frozenset[str]:
        """Return which of the keys were announced."""
        wanted = "SELECT key FROM announcements WHERE key IN (SELECT value FROM json_each(?))"
        return frozenset(row["key"] for row in select(self._db, wanted, [json.dumps(list(keys))]))

    def announced_of(self, cells: Iterable[str]) -> frozenset[str]:
        """Return every key that names one of the cells, as ``kind:cell`` or ``kind:cell:more``."""
        sql = (
            "SELECT announcements.key FROM json_each(?) AS prefix JOIN announcements"
            " ON announcements.key >= prefix.value AND announcements.key < prefix.value || char(1114111)"
        )
        prefixes = [str(AnnouncementKey(kind, cell)) for cell in cells for kind in _ABOUT_CELLS]
        return frozenset(row["key"] for row in select(self._db, sql, [json.dumps(prefixes)]))

    def announced_since(self, moment: str) -> list[dict[str, Any]]:
        """Return what was announced after the moment, oldest first."""
        sql = "SELECT * FROM announcements WHERE at > ? AND line != '' ORDER BY at, key"
        return select(self._db, sql, (moment,))

    def last_digest(self) -> str | None:
        rows = select(self._db, "SELECT at FROM announcements WHERE kind = 'digest' ORDER BY at DESC LIMIT 1")
        return str(rows[0]["at"]) if rows else None

    def open_troubles(self) -> dict[str, str]:
        """Return, by slug, the troubles that were announced and are not over."""
        troubles: dict[str, str] = {}
        sql = "SELECT key, kind, line FROM announcements WHERE kind IN ('trouble', 'trouble over') ORDER BY at, kind"
        for row in select(self._db, sql):
            slug = AnnouncementKey.parse(row["key"]).about
            if row["kind"] == "trouble":
                troubles[slug] = row["line"]
            else:
                troubles.pop(slug, None)
        return troubles

    def flapping(self) -> list[str]:
        """Return the cells that were announced as flapping and not as calm again."""
        sql = "SELECT key, kind FROM announcements WHERE kind IN ('flapping', 'calm again')"
        kinds: dict[tuple[str, tuple[str, ...]], str] = {}
        for row in select(self._db, f"{sql} ORDER BY kind DESC"):
            key = AnnouncementKey.parse(row["key"])
            kinds[key.about, key.details] = row["kind"]
        return [cell for (cell, _), kind in kinds.items() if kind == "flapping"]

    def cells_to_look_at(self, since: date) -> list[str]:
        """Return the cells with a flip to announce, or with a day since then that was not looked at for news."""
        flips = "SELECT cell_id FROM flips WHERE announced_at IS NULL AND NOT withdrawn AND confirmed >= ?"
        days = (
            "SELECT days.cell_id FROM days LEFT JOIN alert_looks ON alert_looks.cell_id = days.cell_id"
            " WHERE days.day >= ? AND (alert_looks.day IS NULL OR alert_looks.day <= days.day"
            " AND (alert_looks.day, alert_looks.run_id) != (days.day, days.run_id))"
        )
        # two questions, and the last look as a value: else the index on days is passed over
        last = select(self._db, "SELECT max(day) AS day FROM alert_looks")[0]["day"] or ""
        first = since.isoformat()
        rows = [*select(self._db, flips, (first,)), *select(self._db, days, (max(first, last),))]
        return sorted({row["cell_id"] for row in rows})

    def flips_of(self, cells: Iterable[str]) -> list[dict[str, Any]]:
        sql = "SELECT * FROM flips WHERE NOT withdrawn AND cell_id IN (SELECT value FROM json_each(?))"
        return select(self._db, f"{sql} ORDER BY confirmed, day, id", [json.dumps(list(cells))])

    def flips_taken_back(self) -> list[dict[str, Any]]:
        """Return the flips that were announced and do not hold any more."""
        sql = (
            "SELECT flips.*, runtime, subject_id, model_id, organisation FROM flips JOIN cells ON cells.id = cell_id"
            " JOIN subjects ON subjects.id = subject_id JOIN models ON models.id = model_id"
            " WHERE withdrawn AND announced_at IS NOT NULL"
            " AND 'withdrawn:' || cell_id || ':' || day || ':' || after NOT IN (SELECT key FROM announcements)"
        )
        return select(self._db, f"{sql} ORDER BY day, cell_id")

    def models_not_announced(self) -> list[dict[str, Any]]:
        sql = "SELECT * FROM models WHERE NOT control AND 'model:' || id NOT IN (SELECT key FROM announcements)"
        return select(self._db, f"{sql} ORDER BY organisation, id")

    def layouts_not_announced(self) -> list[dict[str, Any]]:
        """Return what is new about layouts since alerts began: changes, and first differences from a miniature."""
        began = self.began()
        if began is None:
            return []
        return select(
            self._db,
            "SELECT news.*, organisation FROM ("
            "SELECT 'layout' AS kind, 'layout:' || model_id || ':' || revision AS key, id, model_id, revision, at,"
            " changed AS sentences FROM layouts WHERE changed != '[]'"
            " UNION ALL SELECT 'unlike', 'unlike:' || model_id || ':' || revision, id, model_id, revision, at,"
            " differences FROM layout_comparisons AS now WHERE differences != '[]' AND NOT EXISTS ("
            "SELECT 1 FROM layout_comparisons AS before WHERE before.model_id = now.model_id"
            " AND before.id < now.id AND before.differences = now.differences)"
            ") AS news JOIN models ON models.id = model_id"
            " WHERE at >= ? AND key NOT IN (SELECT key FROM announcements) ORDER BY kind, news.id",
            (began,),
        )

    def models_announced_as_new(self) -> frozenset[str]:
        sql = "SELECT key FROM announcements WHERE kind = 'new model' AND line != ''"
        return frozenset(AnnouncementKey.parse(row["key"]).about for row in select(self._db, sql))

    def latest_day(self) -> list[dict[str, Any]]:
        """Return, a row a runtime and platform, how the latest day of all stands: cells, those that are our fault."""
        return select(
            self._db,
            "SELECT runtime, platform, day, count(*) AS cells, sum(verdict = 'unknown' AND blame = 'infra') AS ours,"
            " max(reason) AS reason FROM days JOIN cells ON cells.id = cell_id"
            " WHERE day = (SELECT max(day) FROM day_verdicts) GROUP BY runtime, platform",
        )

    def standing(self) -> list[dict[str, Any]]:
        """Return how many cells of each runtime have which verdict on their latest day."""
        return select(
            self._db, "SELECT runtime, verdict, count(*) AS cells FROM current GROUP BY runtime, verdict ORDER BY 1, 2"
        )

    def given_up(self) -> dict[str, str]:
        """Return, by target, the problem of those whose last finished message was given up."""
        sql = (
            "SELECT target, state, problem, max(id) FROM outbox WHERE state IN ('sent', 'given-up')"
            " GROUP BY target"  # beside max() stand the columns of the row that has it
        )
        return {row["target"]: row["problem"] for row in select(self._db, sql) if row["state"] == "given-up"}

    def letters(self, *, most: int) -> list[dict[str, Any]]:
        """Return the newest messages with what became of them, newest first."""
        sql = (
            "SELECT id, written_at, target, kind, severity, title, state, attempts, due_at, sent_at,"
            " may_have_arrived, problem FROM outbox ORDER BY id DESC LIMIT ?"
        )
        return select(self._db, sql, (most,))

    def due(self, now: datetime) -> list[Letter]:
        """Return what is to be sent by now, in the order in which it was written."""
        sql = "SELECT * FROM outbox WHERE state IN ('pending', 'failed') AND due_at <= ? ORDER BY id"
        return [from_row(Letter, row) for row in select(self._db, sql, (stamp(now),))]


class OutboxWriter(Outbox):
    """Each change is one transaction, or part of the caller's."""

    def announce(
        self, key: str, kind: str, line: str, at: datetime, *, runtime: str = "", organisation: str = ""
    ) -> bool:
        """Record an announcement; return False where it was made before."""
        values = (key, kind, line, runtime, organisation, stamp(at))
        return self._changed("INSERT OR IGNORE INTO announcements VALUES (?, ?, ?, ?, ?, ?)", values)

    def mark_flips(self, ids: Iterable[int], at: datetime) -> None:
        for flip in ids:
            self._changed("UPDATE flips SET announced_at = ? WHERE id = ? AND announced_at IS NULL", (stamp(at), flip))

    def mark_looks(self, cells: Iterable[str]) -> None:
        self._changed(
            "INSERT OR REPLACE INTO alert_looks SELECT cells.id, latest.day, runs.id"
            " FROM cells CROSS JOIN day_verdicts AS latest ON latest.cell = cells.number"
            "  AND latest.day = (SELECT max(day) FROM day_verdicts WHERE cell = cells.number)"
            " JOIN runs ON runs.number = latest.run WHERE cells.id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(cells)),),
        )

    def put(self, letter: Mapping[str, str], at: datetime) -> None:
        """Write a message for one target: target, kind, severity, title, text, html."""
        values = (*(letter[name] for name in _WRITTEN), stamp(at), stamp(at))
        self._changed(
            f"INSERT INTO outbox ({', '.join(_WRITTEN)}, written_at, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - the names below
            values,
        )

    def take_back(self, *, most_attempts: int) -> int:
        """Release what a dead process had claimed, to be sent again; it may have arrived already.

        The caller is the only one who sends: it holds the database's writer lock. What was claimed as often as that is
        given up: it may be the very thing that the process dies of.
        """
        sql = (
            "UPDATE outbox SET state = CASE WHEN attempts < ? THEN 'pending' ELSE 'given-up' END,"
            " problem = 'the process ended while it was being sent', may_have_arrived = 1 WHERE state = 'claimed'"
        )
        with self._db.atomic():
            return int(self._db.execute(sql, (most_attempts,)).rowcount)

    def claim(self, letter: Letter, at: datetime, by: str) -> bool:
        sql = (
            "UPDATE outbox SET state = 'claimed', claimed_at = ?, claimed_by = ?, attempts = attempts + 1"
            " WHERE id = ? AND state IN ('pending', 'failed')"
        )
        return self._changed(sql, (stamp(at), by, letter.id))

    def sent(self, letter: Letter, at: datetime, by: str) -> bool:
        sql = (
            "UPDATE outbox SET state = 'sent', sent_at = ?, problem = ''"
            " WHERE id = ? AND state = 'claimed' AND claimed_by = ?"
        )
        return self._changed(sql, (stamp(at), letter.id, by))

    def failed(self, letter: Letter, by: str, problem: str, *, again: datetime | None, may_have_arrived: bool) -> bool:
        """Write that an attempt failed, to be tried again at a moment, or never."""
        sql = (
            "UPDATE outbox SET state = ?, due_at = coalesce(?, due_at), problem = ?,"
            " may_have_arrived = may_have_arrived OR ? WHERE id = ? AND state = 'claimed' AND claimed_by = ?"
        )
        due = stamp(again) if again else None
        state = "failed" if again else "given-up"
        return self._changed(sql, (state, due, problem, int(may_have_arrived), letter.id, by))

    def _changed(self, sql: str, values: Iterable[Any]) -> bool:
        with self._db.atomic():
            return bool(self._db.execute(sql, tuple(values)).rowcount)


_WRITTEN = ("target", "kind", "severity", "title", "text", "html")
