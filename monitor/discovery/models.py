"""Finds published models and follows each: new ones, their revisions, what became of them, how popular they are."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from monitor.discovery.described import as_config, dated, fits, listing_of, model_of, with_config
from monitor.discovery.history import small_files, unseen_revisions
from monitor.errors import AskAgain, InfraError, NoAnswer, SettleError
from monitor.sources.hub import Gone, Moved
from monitor.sources.model_changes import ModelState, Standing, news
from monitor.store.published import Watched
from monitor.subjects.catalogue import load_catalogue
from monitor.subjects.local_folder import folder_subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from monitor.config.settings import Hub as Settings
    from monitor.domain import Model
    from monitor.progress import Progress
    from monitor.sources.hub import Hub
    from monitor.sources.published import Published
    from monitor.store import Store
    from monitor.store.published import Revision

_SOON = timedelta(minutes=5)  # until what failed is asked again
_IN_VAIN = 3  # questions without an answer after which a step leaves the hub alone
_ALONE = 100  # models asked about one by one in a step: a hub counts calls
_POPULARITY = "popularity"


@dataclass(frozen=True, slots=True)
class FoundModels:
    """What one step found. ``again_at``: the hub wants to be left alone until then."""

    new: tuple[str, ...] = ()
    revised: tuple[str, ...] = ()
    states: tuple[tuple[str, ModelState, str], ...] = ()
    troubles: tuple[str, ...] = ()
    again_at: datetime | None = None


def find_models(store: Store, hub: Hub, settings: Settings, now: datetime, progress: Progress) -> FoundModels:
    """Ask what is due, record what is new, and return it. Asking twice finds nothing twice, and no failure is fatal.

    What a failure left unasked is asked again soon, and after a rate limit when the hub allows it.
    """
    search = _Search(store, hub, settings, now, progress)
    for what in store.published.due(search.things(), now):
        if search.given_up:
            break
        search.ask(what)
    return search.found()


@dataclass
class _Search:
    store: Store
    hub: Hub
    settings: Settings
    now: datetime
    progress: Progress
    new: list[str] = field(default_factory=list)
    revised: list[str] = field(default_factory=list)
    states: list[tuple[str, ModelState, str]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    again_at: datetime | None = None
    in_vain: int = 0

    def __post_init__(self) -> None:
        catalogue = load_catalogue()
        self.ours = {model.id: model for model in catalogue.models}
        self.families = {model.architecture: model.family for model in catalogue.models}

    @cached_property
    def watched(self) -> dict[str, Watched]:
        """Every model that was discovered; read only where something is due."""
        return self.store.published.watched()

    @property
    def given_up(self) -> bool:
        return self.again_at is not None or self.in_vain >= _IN_VAIN

    def found(self) -> FoundModels:
        return FoundModels(
            tuple(self.new), tuple(self.revised), tuple(self.states), tuple(self.troubles), self.again_at
        )

    def things(self) -> list[str]:
        """Return everything that can be asked: a model that moved out of its organisation is asked by itself."""
        named = [f"model:{name}" for name in self.settings.named]
        organisations = [f"organisation:{name}" for name in self.settings.organisations]
        moved = [
            f"model:{name}"
            for source, name in self.store.published.renamed()
            if source in organisations and f"organisation:{name.rpartition('/')[0]}" not in organisations
        ]
        folders = [f"folder:{folder}" for folder in self.settings.folders]
        popularity = [_POPULARITY] if self.settings.popularity and (named or organisations) else []
        return list(dict.fromkeys([*folders, *named, *organisations, *moved, *popularity]))

    def ask(self, what: str) -> None:
        """Ask one thing, and remember when it is due again."""
        kind, _, name = what.partition(":")
        due, trouble = self.now + timedelta(minutes=self.settings.poll_minutes), ""
        before = len(self.troubles)
        with self._bearing(name or what):
            match kind:
                case "organisation":
                    self._organisation(name)
                case "model":
                    self._look(name, what)
                case "folder":
                    self._folder(self.settings.folders[[str(one) for one in self.settings.folders].index(name)], what)
                case _:
                    due = self._popularity() or due
        if len(self.troubles) > before:
            trouble = self.troubles[-1]
            due = self.again_at or min(due, self.now + _SOON)
        self.store.published.record_poll(what, self.now, due=due, trouble=trouble)

    @contextmanager
    def _bearing(self, about: str) -> Iterator[None]:
        """Take what goes wrong as a trouble that is told; only a rate limit ends the step."""
        try:
            yield
        except AskAgain as error:
            self.again_at = error.at
            self._complain(str(error))
        except SettleError as error:
            self.in_vain += isinstance(error, NoAnswer)
            self._complain(f"{about}: {error}")

    def _complain(self, trouble: str) -> None:
        self.troubles.append(trouble)
        self.progress.message(trouble)

    def _organisation(self, organisation: str) -> None:
        listed, wrong = self.hub.models_of(organisation)
        for trouble in wrong:
            self._complain(f"{organisation}: {trouble}")
        source = f"organisation:{organisation}"
        told = {seen.id for seen in listed}
        # first: what is missing may be there under a new name, and would else be taken for a new model
        missing = (
            [] if wrong else [one.standing.name for one in self._there(organisation) if one.standing.name not in told]
        )
        for name in missing[:_ALONE]:
            if not self.given_up:
                with self._bearing(name):
                    self._look(name, source)
        for seen in listed:
            if self.given_up:
                return
            if self._known(seen.id) is not None or fits(seen, self.settings):
                with self._bearing(seen.id):
                    self._see(seen, source)

    def _there(self, organisation: str) -> list[Watched]:
        return [
            one
            for one in self.watched.values()
            if one.standing.there and one.standing.name.rpartition("/")[0] == organisation
        ]

    def _known(self, name: str) -> Watched | None:
        """Return the model that is called so now, whatever it is called here."""
        every = self.watched.values()  # one without a name was left by a kill before its first state
        return next((one for one in every if (one.standing.name or one.model_id) == name), None)

    def _look(self, name: str, source: str) -> None:
        """Ask about one model by its name; its own page also tells how many models were made from it."""
        known = self._known(name) or self.watched.get(name)
        asked = known.standing.name if known else name
        answer = self.hub.model(asked)
        if isinstance(answer, Moved):
            answer = self.hub.model(answer.to)
        if isinstance(answer, Moved):
            raise InfraError(f"the hub sends from {asked} to {answer.to} and on")
        if not isinstance(answer, Gone):
            known = self._see(answer, source, known=known)
            self._count(known.model_id, answer)
            return
        if known is None:
            raise InfraError("there is no such model on the hub", hint="check its name, and whether a token is needed")
        self._record_states(known.model_id, known.standing, name=asked, there=False, gated=known.standing.gated)

    def _see(self, seen: Published, source: str, *, known: Watched | None = None) -> Watched:
        known = known or self._known(seen.id)
        model_id = known.model_id if known else seen.id
        if known is None and model_id in self.watched:
            raise InfraError(f"another model has taken the name that {self.watched[model_id].standing.name} had")
        if known is None:
            model = self.ours.get(model_id) or model_of(model_id, seen, families=self.families)
            self.store.published.record_discovery(model, source, self.now, created_at=seen.created)
            self.new.append(model_id)
            self.progress.message(f"{model_id} is new")
            known = self.watched[model_id] = Watched(model_id, source, Standing())
        self._record_states(model_id, known.standing, name=seen.id, there=True, gated=bool(seen.gated))
        self.store.published.record_listing(model_id, listing_of(seen))
        self._follow(model_id, seen)
        return self.watched[model_id]

    def _count(self, model_id: str, own: Published) -> None:
        if self.settings.popularity:
            self.store.published.record_popularity(
                model_id, self._day(), downloads=own.downloads, likes=own.likes, derived=own.derived
            )

    def _day(self) -> date:
        return self.now.astimezone(UTC).date()

    def _record_states(self, model_id: str, before: Standing, *, name: str, there: bool, gated: bool) -> None:
        told = news(before, name=name, there=there, gated=gated)
        self.store.published.record_states(model_id, told, self.now)
        for state, detail in told:
            before = before.after(state, detail)
            self.states.append((model_id, state, detail))
            if state not in {ModelState.LISTED, ModelState.OPENED}:
                self.progress.message(f"{model_id} is {state}{f' to {detail}' if state is ModelState.RENAMED else ''}")
        self.watched[model_id] = replace(self.watched[model_id], standing=before)

    def _follow(self, model_id: str, seen: Published) -> None:
        """Record what revisions have come since the last look."""
        published = self.store.published
        known = published.revisions(model_id)
        if seen.sha is None:
            return
        if known and seen.sha == known[0]:
            self._read_again(model_id, seen.id)
            return
        last_tree = published.tree(model_id, known[0]) if known else {}
        read = unseen_revisions(self.hub, seen, known=known, last_tree=last_tree)
        config = read[-1].files.get("config.json") if read else None
        published.record_revisions(
            model_id, read, self.now, model=self._described(model_id, seen.license, config, read)
        )
        if known and read:
            self.revised.append(model_id)
            self.progress.message(f"{model_id} has a new revision: {', '.join(read[-1].changed) or 'nothing'} changed")

    def _read_again(self, model_id: str, name: str) -> None:
        """Read what a gate or a token stood before: it may be open now."""
        kept = self.store.published.files(model_id)
        revision, tree = kept.revision, self.store.published.tree(model_id, kept.revision)
        if "config.json" not in kept.problems or "config.json" not in tree:
            return
        files = {
            path: found
            for path, found in small_files(self.hub, name, revision, tree).items()
            if isinstance(found, bytes)
        }
        if files:
            model = self._described(model_id, "", files.get("config.json"))
            self.store.published.record_files(model_id, revision, files, self.now, model=model)

    def _described(
        self, model_id: str, license_name: str, config: bytes | str | None, read: Sequence[Revision] = ()
    ) -> Model | None:
        """Return a model as it is known now; None where the catalogue's own words stand."""
        before = self.store.published.model(model_id)
        if before is None or model_id in self.ours:
            return None
        model = replace(before, license=license_name or before.license)
        return dated(with_config(model, as_config(config), families=self.families), read)

    def _folder(self, folder: Path, source: str) -> None:
        model, subject = folder_subject(folder)
        if self.store.published.record_discovery(model, source, self.now, created_at=self.now):
            self.new.append(model.id)
        self.store.record_catalogue([model], [subject])

    def _popularity(self) -> datetime | None:
        """Count a day's popularity, so many models a step; return when the rest is due, None where there is none."""
        waiting = [
            one
            for name in self.store.published.without_popularity(self._day())
            if (one := self.watched[name]).standing.there
        ]
        for one in waiting[:_ALONE]:
            if not self.given_up:
                with self._bearing(one.standing.name):
                    self._look(one.standing.name, one.source)
        return self.now if len(waiting) > _ALONE else None
