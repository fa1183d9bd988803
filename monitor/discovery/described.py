"""Describes a discovered model in the domain's words, from what the hub and its own configuration say; pure."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.domain import Model, ModelKind
from monitor.sources.model_changes import has_weights
from monitor.store.published import Listing
from monitor.subjects.local_folder import has_experts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.config.settings import Hub
    from monitor.sources.published import Published
    from monitor.store.published import Revision

BILLION = 1e9
# words of layers that are no attention; a name that is a value among layer types is written with its quotes
_RECURRENT = ("mamba", "ssm_", '"linear_attention"', "linear_num", "conv_", "recurrent")


def fits(seen: Published, settings: Hub) -> bool:
    """Tell whether a model of a watched organisation is one that is asked for."""
    if seen.private or seen.disabled or seen.created.date() < settings.since:
        return False
    if settings.pipeline_tags and seen.pipeline_tag not in settings.pipeline_tags:
        return False
    if seen.parameters is None:
        return True
    return settings.minimum_billions <= seen.parameters / BILLION <= settings.maximum_billions


def model_of(model_id: str, seen: Published, *, families: Mapping[str, str]) -> Model:
    """Describe a model before any of its files is read. ``families`` are those known, by architecture."""
    return Model(
        id=model_id,
        family=families.get(seen.model_type, model_id.rpartition("/")[2]),
        architecture=seen.model_type,
        kind=ModelKind.DENSE,
        organisation=model_id.rpartition("/")[0],
        released=None,
        released_source="",
        license=seen.license,
    )


def with_config(model: Model, config: Mapping[str, Any], *, families: Mapping[str, str]) -> Model:
    """Complete a model by its own configuration."""
    found = architecture_of(config)
    if not found:
        return model
    family = families.get(found, model.id.rpartition("/")[2])
    return replace(model, architecture=found, family=family, kind=kind_of(config))


def architecture_of(config: Mapping[str, Any]) -> str:
    """Return a configuration's ``model_type``, "" where it has none that could be one."""
    found = config.get("model_type")
    return found if isinstance(found, str) and re.fullmatch(r"[\w.-]{1,100}", found) else ""


def dated(model: Model, read: Sequence[Revision]) -> Model:
    """Date a model by its first commit with weights, if that is among what was read."""
    first = next((one for one in read if has_weights(one.tree)), None)
    if first is None or model.released is not None:
        return model
    source = f"hub: first commit with weights, {first.revision[:12]}"
    return replace(model, released=first.committed_at.date(), released_source=source)


def listing_of(seen: Published) -> Listing:
    return Listing(
        name=seen.id,
        parameters=seen.parameters,
        pipeline_tag=seen.pipeline_tag or "",
        parent=seen.parent,
        gated=seen.gated or "",
    )


def kind_of(config: Mapping[str, Any]) -> ModelKind:
    """Tell a hybrid by layers that are no attention, then a mixture by its experts."""
    text = config.get("text_config")
    spelt = json.dumps(text if isinstance(text, dict) else config).lower()  # an encoder's convolutions say nothing
    if any(word in spelt for word in _RECURRENT):
        return ModelKind.HYBRID
    return ModelKind.MIXTURE if has_experts(dict(config)) else ModelKind.DENSE


def as_config(data: bytes | str | None) -> dict[str, Any]:
    """Return the object in a stranger's JSON file, nothing where there is none."""
    if not isinstance(data, bytes):
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
