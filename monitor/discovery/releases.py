"""Finds releases, and what happens to them, at every source that is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from containers.lock import redacted
from containers.recipes import RECIPES
from containers.uv_command import fitting_tags
from monitor.domain import Runtime
from monitor.errors import SettleError
from monitor.sources.access import install_settings
from monitor.sources.compatibility import compatibility_of
from monitor.sources.nightlies import fetch_nightlies
from monitor.sources.offers import available_releases
from monitor.sources.registry import fetch_image_tags
from monitor.sources.tags import fetch_refs
from monitor.store.listings import Learnt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from containers.settings import InstallSettings
    from monitor.config.settings import Config
    from monitor.domain import Release
    from monitor.progress import Progress
    from monitor.sources.release_events import ReleaseEvent
    from monitor.store import Store
    from monitor.store.listings import Poll

# what does not answer is asked again sooner: an hour lost is an hour by which every release looks later
RETRY = timedelta(minutes=5)
ACCELERATOR = "cpu"
# whose source a runtime is built from
_PROJECTS: Mapping[Runtime, tuple[str, ...]] = {
    Runtime.TRANSFORMERS: ("transformers",),
    Runtime.PEFT: ("transformers",),
    Runtime.VLLM: ("vllm", "transformers"),
    Runtime.XLLAMACPP: ("llama.cpp",),
    Runtime.LLAMA_CPP_PYTHON: ("llama.cpp",),
    Runtime.OLLAMA: ("ollama", "llama.cpp"),
}


@dataclass(frozen=True, slots=True)
class FoundReleases:
    """What one look brought; ``faults`` says, by source, what did not answer."""

    asked: tuple[str, ...]
    releases: tuple[Release, ...]
    events: tuple[ReleaseEvent, ...]
    faults: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    learn: Callable[[Store, datetime], Learnt]  # raises SettleError


def find_releases(store: Store, config: Config, now: datetime, progress: Progress) -> FoundReleases:
    """Ask every source that is due and record what it lists; one that does not answer is said, and keeps no other."""
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
        fault = faults.get(source.name, "")
        if fault != before:  # what goes on as it was is in the database, and need not fill the log
            progress.message(f"releases: {source.name}: {fault or 'answers again'}")
        store.record_poll(source.name, now, fault)
    found = FoundReleases(
        asked=tuple(source.name for source in due),
        releases=tuple(release for one in learnt for release in one.releases),
        events=tuple(event for one in learnt for event in one.events),
        faults=faults,
    )
    for event in found.events:
        progress.message(f"releases: {event.project} {event.version}: {event.kind} {event.after or event.before}"[:300])
    return found


def is_due(poll: Poll | None, now: datetime, every: timedelta) -> bool:
    """Tell whether a source is to be asked; where the clock was set back, what lies ahead says nothing."""
    if poll is None or poll.asked_at > now:
        return True
    return now - poll.asked_at >= (min(RETRY, every) if poll.fault else every)


def sources_of(config: Config) -> Iterator[Source]:
    """Yield what is to be asked about the configured runtimes; an address that is "" is not."""
    own, settings = config.releases, install_settings(config)
    for runtime in config.runtimes:
        if RECIPES[runtime].archive is None:  # on the index a client may go by an artefact's name
            yield Source(f"index of {runtime}", partial(_from_index, settings, runtime))
    watched = {project for runtime in config.runtimes for project in _PROJECTS[runtime]}
    for project, address in _repositories(config).items():
        if address and project in watched:
            yield Source(f"tags of {project}", partial(_from_tags, settings, project, address))
    if own.nightlies and Runtime.VLLM in config.runtimes:
        yield Source("nightlies of vllm", partial(_from_nightlies, settings, own.nightlies))
    if own.registry and Runtime.OLLAMA in config.runtimes:
        yield Source("image of ollama", partial(_from_registry, settings, own.registry, own.image))


def _repositories(config: Config) -> Mapping[str, str]:
    own = config.releases.repositories
    return {"transformers": own.transformers, "vllm": own.vllm, "llama.cpp": own.llama_cpp, "ollama": own.ollama}


def _from_index(settings: InstallSettings, runtime: Runtime, store: Store, now: datetime) -> Learnt:
    return store.record_releases(available_releases(settings, runtime, ACCELERATOR), now)


def _from_tags(settings: InstallSettings, project: str, address: str, store: Store, now: datetime) -> Learnt:
    return store.record_refs(project, redacted(address), fetch_refs(address, settings), now)


def _from_nightlies(settings: InstallSettings, address: str, store: Store, now: datetime) -> Learnt:
    tags = fitting_tags(settings.python)
    listed = fetch_nightlies(address, ACCELERATOR, settings, now=now)
    fitting = [replace(one, fit=compatibility_of(one, python=settings.python, tags=tags)) for one in listed]
    return store.record_releases(fitting, now)


def _from_registry(settings: InstallSettings, address: str, image: str, store: Store, now: datetime) -> Learnt:
    repository = f"{redacted(address)}/{image}"
    tags = fetch_image_tags(address, image, settings, store.listings.refs(repository))
    moved = store.record_refs(str(Runtime.OLLAMA), repository, tags.refs, now)
    return Learnt(store.record_releases(tags.releases, now).releases, moved.events)
