"""The newest nightly wheels of a runtime, each of one commit, as vLLM's publisher lists them in a folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from monitor.domain import Release
from monitor.errors import InfraError
from monitor.sources.compatibility import channel_of
from monitor.sources.web import fetch

if TYPE_CHECKING:
    from datetime import datetime

    from containers.settings import InstallSettings
    from monitor.domain import Runtime

_COMMIT = re.compile(r"(?:^|/)([0-9a-f]{40})/[^/]+\.whl$")


class _Wheel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    version: Annotated[str, Field(max_length=100)]  # without the variant
    filename: Annotated[str, Field(max_length=300, pattern=r"^[^/]+\.whl$")]
    path: Annotated[str, Field(max_length=600)]  # relative, to the folder of the wheel's commit


_LISTED = TypeAdapter(Annotated[list[_Wheel], Field(max_length=1000)])


def fetch_nightlies(
    runtime: Runtime, address: str, variant: str, settings: InstallSettings, *, now: datetime
) -> tuple[Release, ...]:
    """Ask for the newest nightly of a variant such as cpu ("" is the default one); nothing where it has none.

    Raises BenchError when the server does not answer, or with something else than its list.
    """
    url = "/".join(filter(None, (address.rstrip("/"), "nightly", variant, runtime, "metadata.json")))
    document = fetch(url, settings)
    if document is None:
        return ()  # variants are built on demand
    try:
        wheels = _LISTED.validate_json(document.body)
        by_version: dict[Version, list[_Wheel]] = {}
        for wheel in wheels:
            by_version.setdefault(Version(wheel.version), []).append(wheel)
    except (ValidationError, InvalidVersion) as error:
        raise InfraError(f"{address} does not list wheels as it used to: {str(error)[:200]}") from error
    published = document.changed_at or now
    return tuple(_release(runtime, version, group, published) for version, group in sorted(by_version.items()))


def _release(runtime: Runtime, version: Version, wheels: list[_Wheel], published_at: datetime) -> Release:
    commits = [found[1] for wheel in wheels if (found := _COMMIT.search(wheel.path))]
    return Release(
        runtime=runtime,
        version=str(version),
        channel=channel_of(version),
        published_at=published_at,
        wheels=tuple(sorted(wheel.filename for wheel in wheels)),
        revision=commits[0] if commits else "",
    )
