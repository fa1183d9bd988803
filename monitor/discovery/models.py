"""Finds new models on the hub and follows each one: its revisions, its states and its popularity."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

from monitor.discovery.layouts import follow_layout
from monitor.discovery.model_facts import (
    FirstListing,
    as_config,
    is_of_another_task,
    is_wanted,
    listing_of,
    model_of,
    small_files,
    unseen_revisions,
    with_config,
    with_release_day,
)
from monitor.domain import HubName, folder_id
from monitor.errors import AskAgain, InfraError, NoAnswer, SettleError
from monitor.sources.bounds import answer_fault
from monitor.sources.changes import ModelState, Presence, new_states
from monitor.sources.hub import Gone, Renamed
from monitor.sources.hub_http import LONGEST_WAIT_S
from monitor.store.published import WatchedModel
from monitor.subjects.catalogue import load_catalogue
from monitor.subjects.local_folder import folder_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from monitor.config.settings import Hub as Settings
    from monitor.domain import Model
    from monitor.progress import Progress
    from monitor.sources.hub import HubClient
    from monitor.sources.hub_answers import HubModel
    from monitor.store import Store
    from monitor.store.published import Revision

_RETRY = timedelta(minutes=5)
_MOST_UNANSWERED = 3  # requests without an answer after which a step gives up
_LONGEST_S = 600.0  # of a step: a slow hub must not keep the daemon from probing
_MOST_SINGLE = 100  # single models asked about in a step: a hub counts requests
_MOST_NAMED = 5
_POPULARITY = "popularity"


@dataclass(slots=True)
class DiscoveredModels:
    """The result of a step; until ``again_at`` the hub limits the rate."""

    new: tuple[str, ...] = ()
    revised: tuple[str, ...] = ()
    states: tuple[tuple[str, ModelState, str], ...] = ()
    troubles: tuple[str, ...] = ()
    again_at: datetime | None = None


def find_models(
    store: Store, hub: HubClient, settings: Settings, now: datetime, progress: Progress
) -> DiscoveredModels:
    """Ask everything that is due and record what is new; asking twice records nothing twice, and no failure is fatal.

    After a failure the rest is asked soon, after a rate limit when the hub allows it.
    """
    search = _Search(store, hub, settings, now, progress)
    longest = max(timedelta(minutes=settings.poll_minutes), timedelta(seconds=LONGEST_WAIT_S)) + _RETRY
    for source in store.published.due(list(search.sources), now, longest=longest):
        if search.given_up:
            break
        search.ask(source)
    return search.result


@dataclass
class _Search:
    store: Store
    hub: HubClient
    settings: Settings
    now: datetime
    progress: Progress
    result: DiscoveredModels = field(default_factory=DiscoveredModels)
    unanswered: int = 0
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        catalogue = load_catalogue()
        self.ours = {model.id: model for model in catalogue.models}
        self.families = {model.architecture: model.family for model in catalogue.models}

    @cached_property
    def watched(self) -> dict[str, WatchedModel]:
        """Every discovered model; read only where something is due."""
        return self.store.published.watched()

    @property
    def given_up(self) -> bool:
        late = time.monotonic() - self.began > _LONGEST_S
        return late or self.result.again_at is not None or self.unanswered >= _MOST_UNANSWERED

    @cached_property
    def sources(self) -> dict[str, tuple[str, Callable[[], datetime | None]]]:
        """Return, by source, its name and the question to ask; a model that left its organisation is its own source."""
        organisations = {f"organisation:{name}": name for name in self.settings.organisations}
        moved = [
            name
            for source, name in self.store.published.renamed()
            if source in organisations and HubName.parse(name).organisation not in organisations.values()
        ]
        asked: dict[str, tuple[str, Callable[[], datetime | None]]] = {}
        for folder in self.settings.folders:
            asked[folder_id(folder)] = str(folder), partial(self._folder, folder, folder_id(folder))
        for name in self.settings.named:
            asked[f"model:{name}"] = name, partial(self._look, name, f"model:{name}")
        for source, name in organisations.items():
            asked[source] = name, partial(self._organisation, name)
        for name in moved:
            asked.setdefault(f"model:{name}", (name, partial(self._look, name, f"model:{name}")))
        if self.settings.popularity and (self.settings.named or organisations):
            asked[_POPULARITY] = _POPULARITY, self._popularity
        return asked

    def ask(self, source: str) -> None:
        """Ask a source, and record when it is due again."""
        about, answer = self.sources[source]
        due, trouble = self.now + timedelta(minutes=self.settings.poll_minutes), ""
        before = len(self.result.troubles)
        with self._tolerating(about):
            due = answer() or due
        if len(self.result.troubles) > before:
            trouble = self.result.troubles[-1]
            due = self.result.again_at or min(due, self.now + _RETRY)
        self.store.published.record_poll(source, self.now, due=due, trouble=trouble)

    @contextmanager
    def _tolerating(self, about: str) -> Iterator[None]:
        """Turn an error into a recorded trouble; only a rate limit ends the step."""
        try:
            yield
        except AskAgain as error:
            self.result.again_at = error.at
            self._complain(str(error))
        except SettleError as error:
            self.unanswered += isinstance(error, NoAnswer)
            self._complain(f"{about}: {error}")
        except Exception as error:  # noqa: BLE001 - no answer of a hub may take the daemon with it
            self._complain(f"{about}: its answer cannot be used: {answer_fault(error)}")

    def _complain(self, trouble: str) -> None:
        self.result.troubles += (trouble,)
        self.progress.message(trouble)

    def _organisation(self, organisation: str) -> None:
        listed, problems = self.hub.models_of(organisation)
        for trouble in problems:
            self._complain(f"{organisation}: {trouble}")
        source = f"organisation:{organisation}"
        names = {seen.id for seen in listed}
        # first: a missing model may be listed under a new name, which would look like a new model
        missing = [] if problems else [name for name in self._present_names(organisation) if name not in names]
        for name in missing[:_MOST_SINGLE]:
            if not self.given_up:
                with self._tolerating(name):
                    self._look(name, source)
        self._say_what_is_left_out(organisation, [seen for seen in listed if self._known(seen.id) is None])
        for seen in listed:
            if self.given_up:
                return
            if self._known(seen.id) is not None or is_wanted(seen, self.settings):
                with self._tolerating(seen.id):
                    self._see(seen, source)

    def _say_what_is_left_out(self, organisation: str, unknown: Sequence[HubModel]) -> None:
        """Name the models that only the filter for tasks leaves out, once: those of the first poll, and new ones."""
        asked = any(watched.source == f"organisation:{organisation}" for watched in self.watched.values())
        lately = self.now - timedelta(minutes=2 * self.settings.poll_minutes)
        names = [
            f"{seen.id} ({seen.pipeline_tag})"
            for seen in unknown
            if (seen.created >= lately or not asked) and is_of_another_task(seen, self.settings)
        ]
        if names:
            shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
            self.progress.message(f"{organisation}: {len(names)} left out by hub.pipeline_tags: {shown}")

    def _present_names(self, organisation: str) -> list[str]:
        present = (watched.presence.name for watched in self.watched.values() if watched.presence.there)
        return [name for name in present if HubName.parse(name).organisation == organisation]

    def _known(self, name: str) -> WatchedModel | None:
        """Return the model with this name on the hub, whatever its id here."""
        # a model without a name was left by a kill before its first state
        models = self.watched.values()
        return next((model for model in models if (model.presence.name or model.model_id) == name), None)

    def _look(self, name: str, source: str) -> None:
        """Ask about one model by its name; this answer also has the number of models made from it."""
        known = self._known(name) or self.watched.get(name)
        current = known.presence.name if known else name
        answer = self.hub.model(current)
        if isinstance(answer, Renamed):
            answer = self.hub.model(answer.to)
        if isinstance(answer, Renamed):
            raise InfraError(f"the hub redirects from {current} to {answer.to} and further")
        if not isinstance(answer, Gone):
            known = self._see(answer, source, known=known)
            self._count(known.model_id, answer)
            return
        if known is None:
            raise InfraError("there is no such model on the hub", hint="check its name, and whether it needs a token")
        self._record_states(known.model_id, known.presence, name=current, there=False, gated=known.presence.gated)

    def _see(self, seen: HubModel, source: str, *, known: WatchedModel | None = None) -> WatchedModel:
        known = known or self._known(seen.id)
        model_id = known.model_id if known else seen.id
        if known is None and model_id in self.watched:
            raise InfraError(f"another model has the former name of {self.watched[model_id].presence.name} now")
        if known is None:
            model = self.ours.get(model_id) or model_of(model_id, seen, families=self.families)
            self.store.published.record_discovery(model, source, self.now, created_at=seen.created)
            self.result.new += (model_id,)
            self.progress.message(f"{model_id} is new")
            known = self.watched[model_id] = WatchedModel(model_id, source, Presence())
        self._record_states(model_id, known.presence, name=seen.id, there=True, gated=bool(seen.gated))
        self.store.published.record_listing(model_id, listing_of(seen))
        self._follow(model_id, seen)
        if not self.given_up:
            follow_layout(self.store, self.hub, model_id, seen.id, now=self.now, progress=self.progress)
        return self.watched[model_id]

    def _count(self, model_id: str, seen: HubModel) -> None:
        if self.settings.popularity:
            self.store.published.record_popularity(
                model_id, self._day(), downloads=seen.downloads, likes=seen.likes, derived=seen.derived
            )

    def _day(self) -> date:
        return self.now.astimezone(UTC).date()

    def _record_states(self, model_id: str, before: Presence, *, name: str, there: bool, gated: bool) -> None:
        states = new_states(before, name=name, there=there, gated=gated)
        self.store.published.record_states(model_id, states, self.now)
        for state, detail in states:
            before = before.after(state, detail)
            self.result.states += ((model_id, state, detail),)
            if state not in {ModelState.LISTED, ModelState.OPENED}:
                self.progress.message(f"{model_id} is {state}{f' to {detail}' if state is ModelState.RENAMED else ''}")
        self.watched[model_id] = replace(self.watched[model_id], presence=before)

    def _follow(self, model_id: str, seen: HubModel) -> None:
        """Record the revisions since the last poll."""
        published = self.store.published
        known = published.revisions(model_id)
        if seen.sha is None:
            return
        if known and seen.sha == known[0]:
            self._read_again(model_id, seen.id)
            return
        last_tree = published.tree(model_id, known[0]) if known else {}
        revisions = unseen_revisions(self.hub, seen, known=known, last_tree=last_tree)
        config = revisions[-1].files.get("config.json") if revisions else None
        model = self._described(model_id, seen.license, config, revisions)
        published.record_revisions(model_id, revisions, self.now, model=model)
        if known and revisions:
            self.result.revised += (model_id,)
            changed = ", ".join(revisions[-1].changed) or "nothing"
            self.progress.message(f"{model_id} has a new revision: {changed} changed")

    def _read_again(self, model_id: str, name: str) -> None:
        """Read files that a gate or a missing token closed: they may be open now."""
        kept = self.store.published.files(model_id)
        revision, tree = kept.revision, self.store.published.tree(model_id, kept.revision)
        if "config.json" not in kept.problems or "config.json" not in tree:
            return
        files = {
            path: content
            for path, content in small_files(self.hub, name, revision, tree).items()
            if isinstance(content, bytes)
        }
        if files:
            model = self._described(model_id, "", files.get("config.json"))
            self.store.published.record_files(model_id, revision, files, self.now, model=model)

    def _described(
        self, model_id: str, license_name: str, config: bytes | str | None, revisions: Sequence[Revision] = ()
    ) -> Model | None:
        """Return a model as it is known now; None where the catalogue describes it."""
        before = self.store.published.model(model_id)
        if before is None or model_id in self.ours:
            return None
        model = replace(before, license=license_name or before.license)
        model = with_config(model, as_config(config), families=self.families)
        return with_release_day(model, revisions, self._first_listing(model_id))

    def _first_listing(self, model_id: str) -> FirstListing:
        """Return when the model was first seen; in the step that sees it, the poll before was the last without it."""
        source, seen = self.store.published.first_seen(model_id)
        return FirstListing(seen, self.store.published.answered(source) if seen == self.now else None)

    def _folder(self, folder: Path, source: str) -> None:
        model, subject = folder_subject(folder)
        if self.store.published.record_discovery(model, source, self.now, created_at=self.now):
            self.result.new += (model.id,)
        self.store.record_catalogue([model], [subject])

    def _popularity(self) -> datetime | None:
        """Record the day's popularity of some models a step; return when the rest is due, None where there is none."""
        waiting = [
            model
            for name in self.store.published.without_popularity(self._day())
            if (model := self.watched[name]).presence.there
        ]
        for model in waiting[:_MOST_SINGLE]:
            if not self.given_up:
                with self._tolerating(model.presence.name):
                    self._look(model.presence.name, model.source)
        return self.now if len(waiting) > _MOST_SINGLE else None
