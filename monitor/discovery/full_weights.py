"""Makes discovered models subjects with their full weights: the newest revision of each, fetched once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.domain import Subject, SubjectForm
from monitor.errors import NotACheckpoint, UnknownName
from monitor.subjects.weights import GIB, WeightStore, checkpoint_folder

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.config.settings import Config
    from monitor.progress import Progress
    from monitor.sources.hub import HubClient
    from monitor.store import Reader, Store


def unfetched(store: Reader, config: Config) -> list[str]:
    """Return the models whose full weights are wanted and missing here: never fetched, or lost since."""
    if not config.hub.full:
        return []
    watched = store.published.watched()
    return [
        model_id
        for model_id, digest in store.published.fetched(config.hub.full).items()
        if watched[model_id].presence.there and (digest is None or (digest and not _is_here(config, digest)))
    ]


def in_use(store: Reader, config: Config) -> set[str]:
    """Return the digests of the weights that are here and probed now."""
    digests = store.published.fetched(config.hub.full).values()
    return {digest for digest in digests if digest and _is_here(config, digest)}


def _is_here(config: Config, digest: str) -> bool:
    return checkpoint_folder(config.home, digest).is_dir()


def fetch_full(
    store: Store, weights: WeightStore, hub: HubClient, model_id: str, progress: Progress, *, now: datetime
) -> Subject | None:
    """Fetch the weights unless they are here, and record the subject, or why there is none (then returns None).

    Raises DiskFull and InfraError as ``WeightStore.fetch`` does: these are not recorded, and the next step tries again.
    """
    published = store.published
    watched = published.watched()
    revisions = published.revisions(model_id)
    model = published.model(model_id)
    if model_id not in watched or model is None or not revisions:
        raise UnknownName("discovered model", model_id, watched, hint="`settle models` lists what is watched")
    try:
        digest = weights.fetch(hub, watched[model_id].presence.name, revisions[0], progress)
    except NotACheckpoint as error:
        progress.message(f"{model_id}: no full weights: {error}")
        published.record_fetch(model_id, revisions[0], now, reason=str(error))
        return None
    subject = Subject(
        id=f"{model_id}#full",
        model_id=model_id,
        form=SubjectForm.FULL,
        architecture=model.architecture,
        digest=digest,
    )
    published.record_fetch(model_id, revisions[0], now, subject=subject)
    return subject


def weights_of(config: Config, store: Reader, *, installed_bytes: int) -> WeightStore:
    """Return the store of weights, which may take what environments and their cache leave of the disk budget."""
    disk = config.disk
    return WeightStore(
        config.home,
        budget_bytes=max(0, int(disk.budget_gib * GIB) - installed_bytes),
        floor_bytes=int(disk.floor_gib * GIB),
        kept=in_use(store, config),
    )
