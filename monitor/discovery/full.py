"""Makes a discovered model a subject with its full weights: the newest revision that was seen, fetched once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import UnknownName
from monitor.weights import GIB, WeightStore
from monitor.words import Subject, SubjectForm

if TYPE_CHECKING:
    from monitor.sources.hub import Hub
    from monitor.talk import Talk
    from monitor.workbench import Workbench


def fetch_full(shop: Workbench, hub: Hub, model_id: str, talk: Talk) -> Subject:
    """Fetch the weights unless they are here, and record the subject. Raises as ``WeightStore.fetch`` does."""
    published = shop.store.published
    watched = published.watched()
    revisions = published.revisions(model_id)
    model = published.model(model_id)
    if model_id not in watched or model is None or not revisions:
        raise UnknownName("discovered model", model_id, watched, hint="`settle models` lists what is watched")
    digest = weights_of(shop).fetch(hub, watched[model_id].standing.name, revisions[0], talk)
    subject = Subject(
        id=f"{model_id}#full",
        model_id=model_id,
        form=SubjectForm.FULL,
        architecture=model.architecture,
        digest=digest,
    )
    shop.store.record_catalogue([], [subject])
    return subject


def weights_of(shop: Workbench) -> WeightStore:
    """Return the store of weights, which may take what the budget leaves beside environments and their cache."""
    disk = shop.config.disk
    others = shop.environments.usage().total_bytes
    return WeightStore(
        shop.config.home,
        budget_bytes=max(0, int(disk.budget_gib * GIB) - others),
        floor_bytes=int(disk.floor_gib * GIB),
    )
