"""Asks every source that is due for releases, and records them and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from containers.lock import redacted
from monitor.errors import SettleError
from monitor.sources.bounds import answer_fault
from monitor.sources.git_refs import fetch_refs
from monitor.sources.index import available_releases, with_compatibility
from monitor.sources.publishers import fetch_image_tags, fetch_nightlies
from monitor.sources.web import install_settings
from monitor.store.listings import Learnt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from containers.settings import InstallSettings
    from monitor.config.settings import Config, Releases
    from monitor.domain import Release, Runtime
    from monitor.progress import Progress
    from monitor.sources.changes import ReleaseEvent
    from monitor.store import Store
    from monitor.store.listings import Poll

# a source without an answer is asked sooner: an hour without an answer makes every release look an hour later
RETRY = timedelta(minutes=5)
ACCELERATOR = "cpu"


@dataclass(frozen=True, slots=True)
class DiscoveredReleases:
    """The result of a step; ``faults`` has the error of each source that did not answer."""

    asked: tuple[str, ...]
    releases: tuple[Release, ...]
    events: tuple[ReleaseEvent, ...]
    faults: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    learn: Callable[[Store, datetime], Learnt]  # raises SettleError


def find_releases(store: Store, config: Config, now: datetime, progress: Progress) -> DiscoveredReleases:
    """Ask every source that is due and record what it lists; a source that does not answer delays no other."""
    polls = store.listings.polls()
    every = timedelta(minutes=config.releases.poll_minutes)
    due = [source for source in sources_of(config) if is_due(polls.get(source.name), now, every)]
    learnt: list[Learnt] = []
    faults: dict[str, str] = {}
    for source in due:
        before = polls[source.name].fault if source.name in polls else ""
        try:
            learnt.append(source.learn(store, now))
        except SettleError as error:
            faults[source.name] = str(error)
        except Exception as error:  # noqa: BLE001 - no answer of a source may take the daemon with it
            faults[source.name] = f"its answer cannot be used: {answer_fault(error)}"
        fault = faults.get(source.name, "")
        if fault != before:  # an unchanged fault is in the database and is not logged again
            progress.message(f"releases: {source.name}: {fault or 'answers again'}")
        store.record_poll(source.name, now, fault)
    discovered = DiscoveredReleases(
        asked=tuple(source.name for source in due),
        releases=tuple(release for listing in learnt for release in listing.releases),
        events=tuple(event for listing in learnt for event in listing.events),
        faults=faults,
    )
    for event in discovered.events:
        progress.message(f"releases: {event.project} {event.version}: {event.kind} {event.after or event.before}"[:300])
    return discovered


def is_due(poll: Poll | None, now: datetime, every: timedelta) -> bool:
    """Return whether to ask a source; a poll in the future, after the clock was set back, does not count."""
    if poll is None or poll.asked_at > now:
        return True
    return now - poll.asked_at >= (min(RETRY, every) if poll.fault else every)


def sources_of(config: Config) -> Iterator[Source]:
    """Yield the sources of the configured runtimes; an empty address is not asked."""
    releases, settings = config.releases, install_settings(config)
    for runtime in config.runtimes:
        if not runtime.record.image:  # on the index a client may go by an image's name
            yield Source(f"index of {runtime}", partial(_from_index, settings, runtime))
    for project in sorted({project for runtime in config.runtimes for project in runtime.record.repositories}):
        if address := releases.repositories.address_of(project):
            yield Source(f"tags of {project}", partial(_from_tags, settings, project, address))
    for runtime in config.runtimes:
        if releases.nightlies and runtime.record.nightlies:
            yield Source(f"nightlies of {runtime}", partial(_from_nightlies, settings, runtime, releases.nightlies))
        if releases.registry and runtime.record.image:
            yield Source(f"image of {runtime}", partial(_from_registry, settings, runtime, releases))


def _from_index(settings: InstallSettings, runtime: Runtime, store: Store, now: datetime) -> Learnt:
    return store.record_releases(available_releases(settings, runtime, ACCELERATOR), now)


def _from_tags(settings: InstallSettings, project: str, address: str, store: Store, now: datetime) -> Learnt:
    return store.record_refs(project, redacted(address), fetch_refs(address, settings), now)


def _from_nightlies(settings: InstallSettings, runtime: Runtime, address: str, store: Store, now: datetime) -> Learnt:
    listed = fetch_nightlies(runtime, address, ACCELERATOR, settings, now=now)
    return store.record_releases([with_compatibility(release, settings) for release in listed], now)


def _from_registry(
    settings: InstallSettings, runtime: Runtime, releases: Releases, store: Store, now: datetime
) -> Learnt:
    repository = f"{redacted(releases.registry)}/{releases.image}"
    known = store.listings.refs(repository)
    listed, refs = fetch_image_tags(runtime, releases.registry, releases.image, settings, known=known)
    moved = store.record_refs(str(runtime), repository, refs, now)
    return Learnt(store.record_releases(listed, now).releases, moved.events)
