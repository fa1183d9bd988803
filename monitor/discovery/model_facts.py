"""Reads what the hub and a model's files say about it: description, revisions, and what each revision changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from monitor.domain import HubName, Model, ModelKind, ReleaseKind
from monitor.sources.bounds import parsed_json
from monitor.sources.changes import EPOCH, has_weights, what_changed
from monitor.sources.hub import Refused
from monitor.store.published import Listing, Revision
from monitor.subjects.local_folder import has_experts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from monitor.config.settings import Hub as Settings
    from monitor.sources.hub import HubClient
    from monitor.sources.hub_answers import Commit, HubModel, TreeEntry

# what a miniature is made from; weights and vocabularies are too large
KEPT = ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja")
_KEPT_BYTES = 2 << 20
_AT_ONCE = 20  # commits since the last poll; of more, the newest

BILLION = 1e9
# names of layers that are not attention; a value among layer types has its quotes
_RECURRENT = ("mamba", "ssm_", '"linear_attention"', "linear_num", "conv_", "recurrent")


def is_wanted(seen: HubModel, settings: Settings) -> bool:
    """Return whether the settings ask for this model of a watched organisation."""
    if seen.private or seen.disabled or seen.created.date() < settings.since:
        return False
    if is_of_another_task(seen, settings):
        return False
    if seen.parameters is None:
        return True
    return settings.minimum_billions <= seen.parameters / BILLION <= settings.maximum_billions


def is_of_another_task(seen: HubModel, settings: Settings) -> bool:
    """Return whether the filter for tasks leaves a model out; a model without a task may be for any."""
    return bool(settings.pipeline_tags and seen.pipeline_tag) and seen.pipeline_tag not in settings.pipeline_tags


def model_of(model_id: str, seen: HubModel, *, families: Mapping[str, str]) -> Model:
    """Describe a model before any of its files is read; ``families`` maps known architectures."""
    return Model(
        id=model_id,
        family=families.get(seen.model_type, HubName.parse(model_id).name),
        architecture=seen.model_type,
        kind=ModelKind.DENSE,
        organisation=HubName.parse(model_id).organisation,
        license=seen.license,
    )


def with_config(model: Model, config: Mapping[str, Any], *, families: Mapping[str, str]) -> Model:
    architecture = architecture_of(config)
    if not architecture:
        return model
    family = families.get(architecture, HubName.parse(model.id).name)
    return replace(model, architecture=architecture, family=family, kind=kind_of(config))


def architecture_of(config: Mapping[str, Any]) -> str:
    """Return a configuration's ``model_type``, "" where it has no valid one."""
    model_type = config.get("model_type")
    return model_type if isinstance(model_type, str) and re.fullmatch(r"[\w.-]{1,100}", model_type) else ""


@dataclass(frozen=True, slots=True)
class FirstListing:
    """When a model was first seen in its organisation's listing, and when that last answered without it."""

    seen: datetime
    missing: datetime | None  # None: not known, so it may have been there long before


def with_release_day(model: Model, revisions: Sequence[Revision], first_seen: FirstListing) -> Model:
    """Date a model by the later of its first commit with weights and the first time that it is listed.

    Weights are committed while a repository is private, and a listing shows it only once it is public: the release was
    on a day from the later of the commit and the last listing without the model, to the first with it.
    """
    first = next((revision for revision in revisions if has_weights(revision.tree)), None)
    if first is None or model.released is not None:
        return model
    committed = first.committed_at.astimezone(UTC)
    released = max(committed, first_seen.seen)
    earliest = min(released, max(committed, first_seen.missing or committed))
    what = "first commit with weights" if committed >= first_seen.seen else "first listed; weights committed before"
    return replace(
        model,
        released=released.astimezone(UTC).date(),
        created=earliest.astimezone(UTC).date(),
        released_source=f"hub: {what}, {first.revision[:12]}",
        released_kind=ReleaseKind.LISTING,
    )


def listing_of(seen: HubModel) -> Listing:
    return Listing(
        name=seen.id,
        parameters=seen.parameters,
        pipeline_tag=seen.pipeline_tag or "",
        parent=seen.parent,
        gated=seen.gated or "",
    )


def kind_of(config: Mapping[str, Any]) -> ModelKind:
    """Recognise a hybrid by layers that are not attention, then a mixture by its experts."""
    text = config.get("text_config")
    text_json = json.dumps(text if isinstance(text, dict) else config).lower()  # encoders have convolutions, too
    if any(word in text_json for word in _RECURRENT):
        return ModelKind.HYBRID
    return ModelKind.MIXTURE if has_experts(dict(config)) else ModelKind.DENSE


def as_config(data: bytes | str | None) -> dict[str, Any]:
    """Return the object in an untrusted JSON file, an empty one where there is none."""
    if not isinstance(data, bytes):
        return {}
    try:
        config = parsed_json(data)
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def unseen_revisions(
    hub: HubClient, seen: HubModel, *, known: Sequence[str], last_tree: Mapping[str, str]
) -> list[Revision]:
    """Return the new revisions, oldest first. Raises InfraError as the hub does.

    Of the time before a model was discovered two commits count: the first with weights, and the present one.
    """
    assert seen.sha is not None  # noqa: S101 - the caller checks it
    commits = hub.commits(seen.id, seen.sha)[::-1]
    entries: dict[str, list[TreeEntry]] = {}

    def tree_of(commit: Commit) -> dict[str, str]:
        if commit.id not in entries:
            entries[commit.id] = hub.tree(seen.id, commit.id)
        return {entry.path: entry.lfs.oid if entry.lfs else entry.oid for entry in entries[commit.id]}

    fresh = _since(commits, known) if known else _first_and_last(commits, tree_of)
    revisions: list[Revision] = []
    before = last_tree
    for commit in fresh:
        tree = tree_of(commit)
        revisions.append(Revision(commit.id, commit.date, what_changed(before, tree), tree))
        before = tree
    if revisions and (not known or any(set(revision.changed) & set(EPOCH) for revision in revisions)):
        last = revisions[-1]
        revisions[-1] = replace(last, files=small_files(hub, seen.id, last.revision, last.tree))
    return revisions


def _since(commits: Sequence[Commit], known: Sequence[str]) -> Sequence[Commit]:
    """Return the commits after the last known one; where none is known, the history was rewritten: its end counts."""
    places = [place for place, commit in enumerate(commits) if commit.id in set(known)]
    return commits[max(places) + 1 :][-_AT_ONCE:] if places else commits[-1:]


def _first_and_last(commits: Sequence[Commit], tree_of: Callable[[Commit], Mapping[str, str]]) -> Sequence[Commit]:
    """Find the first commit with weights by bisection: weights are seldom removed."""
    if not commits or not has_weights(tree_of(commits[-1])):
        return commits[-1:]
    low, high = 0, len(commits) - 1
    while low < high:
        middle = (low + high) // 2
        if has_weights(tree_of(commits[middle])):
            high = middle
        else:
            low = middle + 1
    return list(dict.fromkeys([commits[low], commits[-1]]))


def small_files(hub: HubClient, name: str, revision: str, paths: Collection[str]) -> dict[str, bytes | str]:
    """Read the files that a miniature is made from, or why they may not be read."""
    files: dict[str, bytes | str] = {}
    for path in KEPT:
        if path not in paths:
            continue
        answer = hub.file(name, revision, path, limit=_KEPT_BYTES)
        files[path] = answer.reason if isinstance(answer, Refused) else answer
    if files:
        return files
    gguf = any(path.endswith(".gguf") for path in paths)
    only = "there are only GGUF files: name the model in hub.full, and they are probed in llama.cpp and Ollama"
    return {"config.json": only if gguf else "there is no config.json"}
