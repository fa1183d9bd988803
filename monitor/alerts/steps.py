"""The daemon's two steps: write messages about news and the daily digest into the outbox, and send what is due."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from monitor.alerts.detection import new_alerts
from monitor.alerts.inputs import read_inputs
from monitor.alerts.message import Message, message, repeated
from monitor.alerts.values import Alert, Item, Kind
from monitor.domain import Severity
from monitor.store.outbox import BEGAN, AnnouncementKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.alerts.values import Trouble
    from monitor.config.settings import Alerts, Target
    from monitor.progress import Progress
    from monitor.store import Store
    from monitor.store.outbox import Letter, Outbox

FIRST_PAUSE = timedelta(minutes=1)  # doubled after every attempt
LONGEST_PAUSE = timedelta(hours=6)
MOST_ATTEMPTS = 10  # about a day
MOST_LINES = 30  # of one kind in a digest


def write_alerts(store: Store, settings: Alerts, now: datetime, troubles: Sequence[Trouble] | None = None) -> int:
    """Write a message for each target and alert, in the transaction that marks the news as announced.

    A call after a cycle puts what one release did to many models into one message; a second call writes nothing. The
    first call notes the known models, and nothing from before its day is news. ``troubles`` are the daemon's; an open
    one that is missing from them is resolved, and None leaves all as they are. Returns the number of messages, 0
    without targets.
    """
    if not settings.targets:
        return 0
    outbox = store.outbox
    with store.atomic():
        if outbox.began() is None and not _begin(store, settings, now):
            return 0
        since = date.fromisoformat((outbox.began() or "")[:10])
        cells = sorted({*outbox.cells_to_look_at(since), *outbox.flapping()})
        written = 0
        for alert in new_alerts(read_inputs(store, cells, now, troubles), flap_days=settings.flap_days):
            for item in alert.items:
                outbox.announce(
                    item.key, item.kind, item.line, now, runtime=item.runtime, organisation=item.organisation
                )
                outbox.mark_flips(item.flips, now)
            filtered = [(target, alert.for_target(target)) for target in settings.targets]
            written += _put(store, settings, filtered, now)
        outbox.mark_looks(cells)
        key = _digest_key(now)
        # the next digest holds what a missed one would have held
        if now.astimezone(UTC).hour >= settings.digest_hour and not outbox.announced([key]):
            written += _put(store, settings, list(_digests(outbox, settings, now)), now)
            outbox.announce(key, Kind.DIGEST, "the digest", now)
    return written


def _begin(store: Store, settings: Alerts, now: datetime) -> bool:
    """Note the models that are known before the first alert, which are no news. False where none is known yet."""
    outbox = store.outbox
    known = outbox.models_not_announced()
    if not known:
        return False
    outbox.announce(BEGAN, BEGAN, "", now)
    for row in known:
        outbox.announce(str(AnnouncementKey("model", row["id"])), Kind.NEW_MODEL, "", now)
    if now.astimezone(UTC).hour >= settings.digest_hour:
        outbox.announce(_digest_key(now), Kind.DIGEST, "", now)
    return True


def _put(store: Store, settings: Alerts, filtered: Iterable[tuple[Target, Alert | None]], now: datetime) -> int:
    written = 0
    for target, alert in filtered:
        if alert is None:
            continue
        text = message(alert, base=settings.link_base)
        letter = {
            "target": target.name,
            "kind": str(alert.kind),
            "severity": str(alert.kind.severity),
            "title": text.title,
            "text": text.text,
            "html": text.html,
        }
        store.outbox.put(letter, now)
        written += 1
    return written


def _digest_key(now: datetime) -> str:
    return str(AnnouncementKey("digest", f"{now.astimezone(UTC).date()}"))


def _digests(outbox: Outbox, settings: Alerts, now: datetime) -> Iterator[tuple[Target, Alert]]:
    """Yield the daily digest of each target: the announcements since the last one, and all verdicts in numbers."""
    since = outbox.last_digest() or outbox.began() or ""
    announced = [
        Item(row["key"], Kind(row["kind"]), row["line"], runtime=row["runtime"], organisation=row["organisation"])
        for row in outbox.announced_since(since)
        if row["kind"] != Kind.DIGEST
    ]
    verdicts: dict[str, list[str]] = {}
    for row in outbox.standing():
        verdicts.setdefault(row["runtime"], []).append(f"{row['cells']} {row['verdict']}")
    for target in settings.targets:
        if target.digest:
            items = [item for item in announced if item.passes(target)]
            count = f"{len(items)} news item{'s' if len(items) != 1 else ''}"
            heading = Item(
                key="",
                kind=Kind.DIGEST,
                line=f"digest of {now.astimezone(UTC).date()}: {count if items else 'nothing new'}",
                facts=tuple(
                    (runtime, ", ".join(counts))
                    for runtime, counts in verdicts.items()
                    if not target.runtimes or runtime in target.runtimes
                ),
            )
            yield target, Alert(Kind.DIGEST, (heading, *_by_kind(items)))


def _by_kind(items: Sequence[Item]) -> Iterator[Item]:
    for kind in Kind:
        lines = [item.line for item in items if item.kind is kind]
        if lines:
            more = len(lines) - MOST_LINES
            shown = lines[:MOST_LINES] + ([f"and {more} more"] if more > 0 else [])
            yield Item(key="", kind=kind, line=f"{kind} ({len(lines)})", facts=tuple(("", line) for line in shown))


def send_alerts(
    store: Store, settings: Alerts, now: datetime, progress: Progress, *, env: Mapping[str, str] | None = None
) -> int:
    """Send what is due, in order; a target that fails delays its other messages. Returns how many messages arrived.

    A message is claimed in the database before it is sent, and marked after. When the process ends in between, or a
    failure does not prove that nothing arrived, the message is sent again and says that it may be a repetition.
    """
    outbox = store.outbox
    if reclaimed := outbox.take_back(most_attempts=MOST_ATTEMPTS):
        progress.message(f"{reclaimed} messages were unfinished when the last process ended; they are sent again")
    urls = {target.name: target.url.get_secret_value() for target in settings.targets}
    arrived = 0
    failing: set[str] = set()
    for letter in outbox.due(now):
        if letter.target in failing:
            continue
        url = urls.get(letter.target)
        if _send(store, letter, url, now, env=os.environ if env is None else env, progress=progress):
            arrived += 1
        else:
            failing.add(letter.target)
    return arrived


def _send(
    store: Store, letter: Letter, url: str | None, now: datetime, *, env: Mapping[str, str], progress: Progress
) -> bool:
    from monitor.alerts.sending import Arrival, Sent, send  # heavy: a tick with nothing to send does not need it

    outbox, by = store.outbox, secrets.token_hex(6)
    if not outbox.claim(letter, now, by):
        return False
    text = Message(letter.title, letter.text, letter.html)
    if url is None:
        sent = Sent(Arrival.REFUSED, f"the configuration has no target {letter.target}")
    else:
        sent = send(url, repeated(text) if letter.may_have_arrived else text, Severity(letter.severity), env)
    if sent.arrival is Arrival.ARRIVED:
        outbox.sent(letter, now, by)
        progress.message(f"sent to {letter.target}: {letter.title}")
        return True
    again = next_attempt(letter.attempts + 1, now) if url is not None else None
    outbox.failed(letter, by, sent.problem, again=again, may_have_arrived=sent.arrival is Arrival.UNCERTAIN)
    then = f"next attempt at {again:%Y-%m-%d %H:%M} UTC" if again else "given up"
    progress.message(f"not sent to {letter.target}, {then}: {sent.problem}")
    return False


def next_attempt(attempts: int, now: datetime) -> datetime | None:
    """Return the time of the next attempt after this many, None after the last."""
    if attempts >= MOST_ATTEMPTS:
        return None
    pause: timedelta = FIRST_PAUSE * 2 ** (attempts - 1)
    return now + min(LONGEST_PAUSE, pause)
