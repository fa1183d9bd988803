"""The daemon's two steps: write what is news into the outbox, and send what is in it."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from monitor.alerts import digest
from monitor.alerts.detection import news
from monitor.alerts.inputs import gather
from monitor.alerts.message import Message, message, repeated
from monitor.alerts.routing import routed
from monitor.alerts.values import Kind, Rules, severity_of
from monitor.domain import Severity
from monitor.store.outbox import BEGAN, AnnouncementKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.alerts.values import Alert, Trouble
    from monitor.config.settings import Alerts, Target
    from monitor.progress import Progress
    from monitor.store import Store
    from monitor.store.outbox import Letter, OutboxWriter

FIRST_PAUSE = timedelta(minutes=1)  # doubled after every attempt
LONGEST_PAUSE = timedelta(hours=6)
MOST_ATTEMPTS = 10  # about a day


def write_alerts(store: Store, settings: Alerts, now: datetime, troubles: Sequence[Trouble] | None = None) -> int:
    """Write a message for each target and piece of news, in the transaction that marks the news as told.

    To be called after a cycle, so that what one release did to many is together; calling it twice tells nothing twice.
    The first call notes which models are known already, and nothing from before its day is news. ``troubles`` are the
    daemon's own, those told before and not among them being over; None says nothing of them. Returns how many messages
    were written; without targets nothing is.
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
        for alert in news(gather(store, cells, now, troubles), Rules(flap_days=settings.flap_days)):
            written += _tell(store, settings, alert, now)
        outbox.mark_looks(cells)
        if digest.is_due(outbox, settings.digest_hour, now):
            due = digest.messages(outbox, settings, now)
            for to, said in due:
                _put(outbox, to, Kind.DIGEST, said, now)
            outbox.announce(digest.key(now), Kind.DIGEST, "the digest", now)
            written += len(due)
    return written


def _begin(store: Store, settings: Alerts, now: datetime) -> bool:
    """Note what was known before there were alerts: it is no news. False where nothing is known yet at all."""
    outbox = store.outbox
    known = outbox.models_not_announced()
    if not known:
        return False
    outbox.announce(BEGAN, BEGAN, "", now)
    for row in known:
        outbox.announce(str(AnnouncementKey("model", row["id"])), Kind.NEW_MODEL, "", now)
    if now.astimezone(UTC).hour >= settings.digest_hour:
        outbox.announce(digest.key(now), Kind.DIGEST, "", now)
    return True


def _tell(store: Store, settings: Alerts, alert: Alert, now: datetime) -> int:
    outbox = store.outbox
    for item in alert.items:
        outbox.announce(item.key, item.kind, item.line, now, runtime=item.runtime, organisation=item.organisation)
        outbox.mark_flips(item.flips, now)
    letters = [(to, routed(alert, to)) for to in settings.targets]
    for to, own in letters:
        if own is not None:
            _put(outbox, to, own.kind, message(own, base=settings.link_base), now)
    return sum(own is not None for _, own in letters)


def _put(outbox: OutboxWriter, to: Target, kind: Kind, said: Message, now: datetime) -> None:
    letter = {
        "target": to.name,
        "kind": str(kind),
        "severity": str(severity_of(kind)),
        "title": said.title,
        "text": said.text,
        "html": said.html,
    }
    outbox.put(letter, now)


def send_alerts(
    store: Store, settings: Alerts, now: datetime, progress: Progress, *, env: Mapping[str, str] | None = None
) -> int:
    """Send what is due, in order; of a target that fails the rest waits. Returns how many arrived.

    A message is claimed in the database before it is sent and marked after. Where a process dies in between nobody can
    know whether it arrived: it is sent again and says so. The same holds for a failure that proves nothing.
    """
    outbox = store.outbox
    if taken := outbox.take_back(most_attempts=MOST_ATTEMPTS):
        progress.message(f"{taken} messages were being sent when the process before ended: once more, marked as such")
    urls = {one.name: one.url.get_secret_value() for one in settings.targets}
    arrived = 0
    failing: set[str] = set()
    for letter in outbox.due(now):
        if letter.target in failing:
            continue
        if _send(
            store, letter, urls.get(letter.target), now, env=os.environ if env is None else env, progress=progress
        ):
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
    said = Message(letter.title, letter.text, letter.html)
    said = repeated(said) if letter.may_have_arrived else said
    if url is None:
        told = Sent(Arrival.REFUSED, f"no target is called {letter.target} any more")
    else:
        told = send(url, said, Severity(letter.severity), env)
    if told.arrival is Arrival.ARRIVED:
        outbox.sent(letter, now, by)
        progress.message(f"told {letter.target}: {letter.title}")
        return True
    again = next_attempt(letter.attempts + 1, now) if url is not None else None
    outbox.failed(letter, by, told.problem, again=again, may_have_arrived=told.arrival is Arrival.UNCERTAIN)
    what = f"again at {again:%Y-%m-%d %H:%M} UTC" if again else "given up"
    progress.message(f"not told {letter.target}, {what}: {told.problem}")
    return False


def next_attempt(attempts: int, now: datetime) -> datetime | None:
    """Return when to try again after so many attempts, None: never."""
    if attempts >= MOST_ATTEMPTS:
        return None
    pause: timedelta = FIRST_PAUSE * 2 ** (attempts - 1)
    return now + min(LONGEST_PAUSE, pause)
