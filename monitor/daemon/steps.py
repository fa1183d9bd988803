"""The daemon's steps in their order: what is published, what is released, what is due, what is told."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.daemon.disk_budget import tidy
from monitor.daemon.news import send_news, write_news
from monitor.daemon.tick import Step, probe_what_is_due
from monitor.discovery.derived import derive_discovered, underived
from monitor.discovery.full import fetch_full, in_use, unfetched
from monitor.discovery.models import find_models
from monitor.discovery.releases import find_releases
from monitor.domain import SubjectForm
from monitor.errors import BenchError
from monitor.runner.context import GIB, at_work, hub_access
from monitor.schedule.today import Watched
from monitor.site.publishing import publish_pages
from monitor.sources.hub import Hub
from monitor.subjects.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from monitor.config.settings import Config
    from monitor.daemon.tick import Life
    from monitor.domain import Subject
    from monitor.progress import Talk
    from monitor.runner.context import Workbench
    from monitor.store import Store

_DERIVED_AT_A_TIME = 10  # before probing has its turn


def everything(store: Store, config: Config, subjects: Sequence[Subject], *, discovered: bool) -> Callable[[], Watched]:
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


def look_for_models(life: Life) -> datetime | None:
    hub = life.config.hub
    if not (hub.asked or hub.folders):
        return None
    return find_models(life.store, _hub(life), hub, life.clock.now(), life.talk).again_at


def _hub(life: Life) -> Hub:
    if life.hub is None:
        life.hub = Hub(hub_access(life.config), now=life.clock.now, sleep=life.clock.sleep)
    return life.hub


def look_for_releases(life: Life) -> None:
    find_releases(life.store, life.config, life.clock.now(), life.talk)


def make_subjects(life: Life) -> datetime | None:
    """Derive miniatures of discovered models, some at a time; one that the bench fails for holds up no other."""
    waiting = underived(life.store)
    if not waiting:
        return None
    with at_work(life.config, life.store, life.talk, now=life.clock.now) as shop:
        failed = [error for model_id in waiting[:_DERIVED_AT_A_TIME] if (error := _derive(shop, model_id, life.talk))]
    if failed:
        raise failed[-1]
    return life.clock.now()


def _derive(shop: Workbench, model_id: str, talk: Talk) -> BenchError | None:
    try:
        derive_discovered(shop, model_id, talk)
    except BenchError as error:
        return error
    return None


def fetch_weights(life: Life) -> datetime | None:
    """Fetch what is probed whole; a model that does not fit or is not given out holds up no other."""
    waiting = unfetched(life.store, life.config)
    if not waiting:
        return None
    with at_work(life.config, life.store, life.talk, now=life.clock.now) as shop:
        failed = [error for model_id in waiting if (error := _fetch(shop, _hub(life), model_id, life.talk))]
    if failed:
        raise failed[-1]
    return life.clock.now()


def _fetch(shop: Workbench, hub: Hub, model_id: str, talk: Talk) -> BenchError | None:
    try:
        fetch_full(shop, hub, model_id, talk)
    except BenchError as error:
        return error
    return None


def keep_house(life: Life) -> datetime | None:
    """Keep to the disk budget once a day, and at once where less is free than is left alone."""
    now, disk = life.clock.now(), life.config.disk
    full = shutil.disk_usage(life.config.home).free < disk.floor_gib * GIB
    pause = timedelta(hours=1) if full else timedelta(days=1)
    if life.tidied is not None and now < life.tidied + pause:
        return None
    with at_work(life.config, life.store, life.talk, now=life.clock.now) as shop:
        done = tidy(shop, budget_bytes=int(disk.budget_gib * GIB), dry_run=False)
    life.tidied = now
    if done.things:
        what = ", ".join(f"{one.what} ({one.bytes / GIB:.2f} GiB)" for one in done.things)
        life.talk.say(f"kept to the disk budget of {disk.budget_gib:g} GiB: removed {what}")
    return None


def write_the_site(life: Life) -> None:
    """Write the pages anew where something is new since they were written last, and push them where that is wanted."""
    own, now = life.config.site, life.clock.now()
    if own.folder is None or not own.every_hours:
        return
    mark = life.store.standings.mark()
    if life.published is not None:
        due = life.published[1] + timedelta(hours=own.every_hours)
        if mark == life.published[0] or now < due:
            return
    publish_pages(life.config, life.store, life.talk)
    life.published = mark, now


STEPS = (
    Step("models", look_for_models),
    Step("releases", look_for_releases),
    Step("miniatures", make_subjects),
    Step("weights", fetch_weights),
    Step("disk", keep_house),
    Step("probing", probe_what_is_due),
    Step("news", write_news),
    Step("sending", send_news),
    Step("site", write_the_site),
)
