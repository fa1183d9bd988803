"""The daily digest: what was told since the last one, and how everything stands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from monitor.alerts.message import message
from monitor.alerts.routing import wanted
from monitor.alerts.values import Alert, Item, Kind
from monitor.store.outbox import AnnouncementKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.alerts.message import Message
    from monitor.config.settings import Alerts, Target
    from monitor.store.outbox import Outbox

MOST_LINES = 30  # of one kind


def key(now: datetime) -> str:
    return str(AnnouncementKey("digest", _day(now)))


def is_due(outbox: Outbox, hour: int, now: datetime) -> bool:
    """Tell whether the day's digest is due. The next one has what a missed one had."""
    return now.astimezone(UTC).hour >= hour and not outbox.announced([key(now)])


def messages(outbox: Outbox, settings: Alerts, now: datetime) -> list[tuple[Target, Message]]:
    """Return the day's digest as each target gets it, with what its filters let through."""
    since = outbox.last_digest() or outbox.began() or ""
    told = [
        Item(row["key"], Kind(row["kind"]), row["line"], runtime=row["runtime"], organisation=row["organisation"])
        for row in outbox.announced_since(since)
        if row["kind"] != Kind.DIGEST
    ]
    standing: dict[str, list[str]] = {}
    for row in outbox.standing():
        standing.setdefault(row["runtime"], []).append(f"{row['cells']} {row['verdict']}")
    targets = [one for one in settings.targets if one.digest]
    return [(to, message(_digest(to, told, standing, now), base=settings.link_base)) for to in targets]


def _digest(to: Target, told: Sequence[Item], standing: Mapping[str, Sequence[str]], now: datetime) -> Alert:
    own = [item for item in told if wanted(item, to)]
    kinds = [kind for kind in Kind if any(item.kind is kind for item in own)]
    count = f"{len(own)} news" if own else "nothing new"
    runtimes = [name for name in standing if not to.runtimes or name in to.runtimes]
    heading = Item(
        key="",
        kind=Kind.DIGEST,
        line=f"digest of {_day(now)}: {count}",
        facts=tuple((name, ", ".join(standing[name])) for name in runtimes),
    )
    return Alert(Kind.DIGEST, (heading, *(_of_kind(kind, [one for one in own if one.kind is kind]) for kind in kinds)))


def _of_kind(kind: Kind, items: Sequence[Item]) -> Item:
    more = len(items) - MOST_LINES
    lines = [one.line for one in items[:MOST_LINES]] + ([f"and {more} more"] if more > 0 else [])
    return Item(key="", kind=kind, line=f"{kind} ({len(items)})", facts=tuple(("", line) for line in lines))


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
