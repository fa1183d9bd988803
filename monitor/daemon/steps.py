"""The daemon's steps in their order: what is published, what is released, what is due, what is told."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.daemon.disk_budget import apply_disk_budget
from monitor.daemon.news import send_news, write_news
from monitor.daemon.tick import Step, probe_what_is_due
from monitor.discovery.full_weights import fetch_full, in_use, unfetched, weights_of
from monitor.discovery.miniatures import derive_discovered, underived
from monitor.discovery.models import find_models
from monitor.discovery.releases import find_releases
from monitor.domain import SubjectForm
from monitor.errors import InfraError
from monitor.runner.session import GIB
from monitor.schedule.today import Watched
from monitor.site.publish import publish_pages
from monitor.sources.access import hub_access
from monitor.sources.hub import HubClient
from monitor.subjects.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from monitor.config.settings import Config
    from monitor.daemon.tick import DaemonState
    from monitor.domain import Subject
    from monitor.runner.derive import Deriver
    from monitor.store import Store

_DERIVED_AT_A_TIME = 10  # before probing has its turn


def subjects_to_watch(
    store: Store, config: Config, subjects: Sequence[Subject], *, discovered: bool
) -> Callable[[], Watched]:
    """Return what tells whom to measure: these subjects, and with ``discovered`` whatever was found by then."""
    released = {model.id: model.released for model in load_catalogue().models}

    def watched() -> Watched:
        every = store.published.subjects() if discovered else []
        whole = in_use(store, config)
        found = [
            one
            for one in every
            if one not in subjects
            # a model of the catalogue that is watched on a hub, too, has its miniatures from the catalogue
            and (one.digest in whole if one.form is SubjectForm.FULL else one.model_id not in released)
        ]
        return Watched([*subjects, *found], {**store.published.births(), **released})

    return watched


def look_for_models(state: DaemonState) -> datetime | None:
    hub = state.config.hub
    if not (hub.asked or hub.folders):
        return None
    return find_models(state.store, _hub(state), hub, state.clock.now(), state.progress).again_at


def _hub(state: DaemonState) -> HubClient:
    if state.hub is None:
        state.hub = HubClient(hub_access(state.config), now=state.clock.now, sleep=state.clock.sleep)
    return state.hub


def look_for_releases(state: DaemonState) -> None:
    find_releases(state.store, state.config, state.clock.now(), state.progress)


def make_subjects(state: DaemonState) -> datetime | None:
    """Derive miniatures of discovered models, some at a time; one that the bench fails for holds up no other."""
    waiting = underived(state.store)
    if not waiting:
        return None
    with state.connect() as opened:
        deriver = opened.deriver
        failed = [
            error for model_id in waiting[:_DERIVED_AT_A_TIME] if (error := _derive(state.store, deriver, model_id))
        ]
    if failed:
        raise failed[-1]
    return state.clock.now()


def _derive(store: Store, deriver: Deriver, model_id: str) -> InfraError | None:
    try:
        derive_discovered(store, deriver, model_id)
    except InfraError as error:
        return error
    return None


def fetch_weights(state: DaemonState) -> datetime | None:
    """Fetch what is probed whole; a model that does not fit or is not given out holds up no other."""
    waiting = unfetched(state.store, state.config)
    if not waiting:
        return None
    with state.connect() as opened:
        installed_bytes = opened.environments.usage().total_bytes
        failed = [error for model_id in waiting if (error := _fetch(state, model_id, installed_bytes))]
    if failed:
        raise failed[-1]
    return state.clock.now()


def _fetch(state: DaemonState, model_id: str, installed_bytes: int) -> InfraError | None:
    try:
        weights = weights_of(state.config, state.store, installed_bytes=installed_bytes)
        fetch_full(state.store, weights, _hub(state), model_id, state.progress, now=state.clock.now())
    except InfraError as error:
        return error
    return None


def keep_disk_budget(state: DaemonState) -> datetime | None:
    """Keep to the disk budget once a day, and at once where less is free than is left alone."""
    now, disk = state.clock.now(), state.config.disk
    full = shutil.disk_usage(state.config.home).free < disk.floor_gib * GIB
    pause = timedelta(hours=1) if full else timedelta(days=1)
    if state.tidied is not None and now < state.tidied + pause:
        return None
    with state.connect() as opened:
        done = apply_disk_budget(
            state.config,
            state.store,
            opened.environments,
            budget_bytes=int(disk.budget_gib * GIB),
            dry_run=False,
        )
    state.tidied = now
    if done.things:
        what = ", ".join(f"{one.what} ({one.bytes / GIB:.2f} GiB)" for one in done.things)
        state.progress.message(f"kept to the disk budget of {disk.budget_gib:g} GiB: removed {what}")
    return None


def write_the_site(state: DaemonState) -> None:
    """Write the pages anew where something is new since they were written last, and push them where that is wanted."""
    own, now = state.config.site, state.clock.now()
    if own.folder is None or not own.every_hours:
        return
    mark = state.store.planning_queries.mark()
    if state.published is not None:
        due = state.published[1] + timedelta(hours=own.every_hours)
        if mark == state.published[0] or now < due:
            return
    publish_pages(state.config, state.store, state.progress)
    state.published = mark, now


STEPS = (
    Step("models", look_for_models),
    Step("releases", look_for_releases),
    Step("miniatures", make_subjects),
    Step("weights", fetch_weights),
    Step("disk", keep_disk_budget),
    Step("probing", probe_what_is_due),
    Step("news", write_news),
    Step("sending", send_news),
    Step("site", write_the_site),
)
