"""The daemon's steps in their order: models, releases, subjects, disk budget, probing, news, pages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from containers.installed import Installed
from monitor.alerts.steps import send_alerts, write_alerts
from monitor.alerts.values import Trouble, TroubleArea, TroubleId
from monitor.daemon.disk_budget import apply_disk_budget
from monitor.daemon.tick import Step, probe_what_is_due
from monitor.discovery.full_weights import fetch_full, in_use, unfetched, weights_of
from monitor.discovery.layouts import compare_layouts
from monitor.discovery.miniatures import derive_discovered, underived
from monitor.discovery.models import find_models
from monitor.discovery.releases import find_releases
from monitor.domain import SubjectForm
from monitor.errors import InfraError
from monitor.runner.session import GIB
from monitor.schedule.today import Watched
from monitor.site.publish import publish_pages
from monitor.sources.hub import HubClient
from monitor.sources.hub_http import hub_access
from monitor.subjects.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from monitor.config.settings import Config
    from monitor.daemon.tick import DaemonState
    from monitor.domain import Subject
    from monitor.store import Store

_DERIVED_AT_A_TIME = 10  # before it is probing's turn
_LASTING = 4  # failures in a row of a step, about a quarter of an hour: fewer may end by themselves


def subjects_to_watch(
    store: Store, config: Config, subjects: Sequence[Subject], *, discovered: bool
) -> Callable[[], Watched]:
    """Return a function for the subjects to measure: the given ones, and with ``discovered`` all discovered by then."""
    released = {model.id: model.released for model in load_catalogue().models}

    def watched() -> Watched:
        weights = in_use(store, config)
        more = [
            subject
            for subject in (store.published.subjects() if discovered else ())
            if subject not in subjects
            # a model of the catalogue that is watched on a hub, too, has its miniatures from the catalogue
            and (subject.digest in weights if subject.form is SubjectForm.FULL else subject.model_id not in released)
        ]
        return Watched([*subjects, *more], {**store.published.births(), **released})

    return watched


def look_for_models(state: DaemonState) -> datetime | None:
    hub = state.config.hub
    if not (hub.asked or hub.folders):
        return None
    models = find_models(state.store, _hub(state), hub, state.clock.now(), state.progress)
    compare_layouts(state.store, state.config.home, state.clock.now(), state.progress)
    return models.again_at


def _hub(state: DaemonState) -> HubClient:
    if state.hub is None:
        state.hub = HubClient(hub_access(state.config), now=state.clock.now, sleep=state.clock.sleep)
    return state.hub


def look_for_releases(state: DaemonState) -> None:
    find_releases(state.store, state.config, state.clock.now(), state.progress)


def make_subjects(state: DaemonState) -> datetime | None:
    """Derive miniatures of discovered models, some at a time; an infra fault of a model delays no other."""
    waiting = underived(state.store)
    if not waiting:
        return None
    with state.connect() as tools:
        deriver = tools.deriver
        _for_each(waiting[:_DERIVED_AT_A_TIME], lambda model_id: derive_discovered(state.store, deriver, model_id))
    return state.clock.now()


def fetch_weights(state: DaemonState) -> datetime | None:
    """Fetch full weights; a model that does not fit or cannot be fetched delays no other."""
    waiting = unfetched(state.store, state.config)
    if not waiting:
        return None
    installed_bytes = Installed(state.config.home / "install").usage().total_bytes

    def fetch(model_id: str) -> None:
        weights = weights_of(state.config, state.store, installed_bytes=installed_bytes)
        fetch_full(state.store, weights, _hub(state), model_id, state.progress, now=state.clock.now())

    _for_each(waiting, fetch)
    return state.clock.now()


def _for_each(model_ids: Sequence[str], work: Callable[[str], object]) -> None:
    """Do the work for every model, and raise the last infra fault at the end."""
    fault: InfraError | None = None
    for model_id in model_ids:
        try:
            work(model_id)
        except InfraError as error:
            fault = error
    if fault:
        raise fault


def keep_disk_budget(state: DaemonState) -> datetime | None:
    """Apply the disk budget once a day, and hourly while less than ``disk.floor_gib`` is free."""
    now, disk = state.clock.now(), state.config.disk
    full = state.free_bytes(state.config.home) < disk.floor_gib * GIB
    pause = timedelta(hours=1) if full else timedelta(days=1)
    if state.budget_applied is not None and now < state.budget_applied + pause:
        return None
    installed = Installed(state.config.home / "install")
    freed = apply_disk_budget(
        state.config, state.store, installed, budget_bytes=int(disk.budget_gib * GIB), dry_run=False
    )
    state.budget_applied = now
    if freed.items:
        removed = ", ".join(f"{item.what} ({item.bytes / GIB:.2f} GiB)" for item in freed.items)
        state.progress.message(f"disk budget of {disk.budget_gib:g} GiB: removed {removed}")
    return None


def write_the_site(state: DaemonState) -> None:
    """Write the pages where something is new since the last time, and push them if that is configured."""
    section, now = state.config.site, state.clock.now()
    if section.folder is None or not section.every_hours:
        return
    mark = state.store.planning.mark()
    if state.published is not None:
        due = state.published[1] + timedelta(hours=section.every_hours)
        if mark == state.published[0] or now < due:
            return
    publish_pages(state.config, state.store, state.progress)
    state.published = mark, now


def write_news(state: DaemonState) -> None:
    write_alerts(state.store, state.config.alerts, state.clock.now(), lasting_troubles(state))


def send_news(state: DaemonState) -> None:
    send_alerts(state.store, state.config.alerts, state.clock.now(), state.progress)


def lasting_troubles(state: DaemonState) -> list[Trouble] | None:
    """Return the steps that have failed for long; None while that is not known yet, as soon after a start."""
    lasting = [
        Trouble(TroubleId(TroubleArea.DAEMON, name), f"{name}: {wait.reason}")
        for name, wait in state.waits.items()
        if wait.failures >= _LASTING
    ]
    return None if state.waits and not lasting else lasting


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
