"""Releases that publishers list outside the package index: nightly wheels by commit, and tags of a container image."""

from __future__ import annotations

import re
import time
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated

from packaging.version import InvalidVersion, Version
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from monitor.domain import Release
from monitor.errors import InfraError
from monitor.sources.bounds import plausible, version_of
from monitor.sources.changes import Refs
from monitor.sources.index import channel_of
from monitor.sources.web import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.settings import InstallSettings
    from monitor.domain import Runtime

PAGES = 40
_PER_PAGE = 100
_SECONDS = 120.0  # of all pages together
_COMMIT = re.compile(r"(?:^|/)([0-9a-f]{40})/[^/]+\.whl$")


class _Wheel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    version: Annotated[str, Field(max_length=100)]  # without the variant
    filename: Annotated[str, Field(max_length=300, pattern=r"^[^/]+\.whl$")]
    path: Annotated[str, Field(max_length=600)]  # relative, to the folder of the wheel's commit


class _Tag(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(max_length=128)]
    digest: Annotated[str, Field(max_length=100)] = ""
    tag_last_pushed: AwareDatetime | None = None
    last_updated: AwareDatetime | None = None

    @property
    def version(self) -> Version | None:
        """``latest`` moves by its nature, and ``0.31.2-rocm`` is another build of a release: neither is a version."""
        return version_of(self.name)

    @property
    def pushed_at(self) -> datetime | None:
        return plausible(self.tag_last_pushed or self.last_updated)


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True)

    next: Annotated[str, Field(max_length=2000)] | None = None
    results: Annotated[list[_Tag], Field(max_length=_PER_PAGE)]


_WHEELS = TypeAdapter(Annotated[list[_Wheel], Field(max_length=1000)])


def fetch_nightlies(
    runtime: Runtime, address: str, variant: str, settings: InstallSettings, *, now: datetime
) -> tuple[Release, ...]:
    """Fetch the newest nightly of a variant such as cpu ("" is the default one), as vLLM's publisher lists it.

    Returns nothing where there is none: variants are built on demand. Raises InfraError when the server does not
    answer, or not with such a list.
    """
    url = "/".join(filter(None, (address.rstrip("/"), "nightly", variant, runtime, "metadata.json")))
    document = fetch(url, settings)
    if document is None:
        return ()
    by_version: dict[Version, list[_Wheel]] = {}
    try:
        for wheel in _WHEELS.validate_json(document.body):
            by_version.setdefault(Version(wheel.version), []).append(wheel)
    except (ValidationError, InvalidVersion) as error:
        raise InfraError(f"{address} does not list wheels in the known form: {str(error)[:200]}") from error
    published_at = document.changed_at or now
    return tuple(
        Release(
            runtime=runtime,
            version=str(version),
            channel=channel_of(version),
            published_at=published_at,
            wheels=tuple(sorted(wheel.filename for wheel in wheels)),
            revision=next((match[1] for wheel in wheels if (match := _COMMIT.search(wheel.path))), ""),
        )
        for version, wheels in sorted(by_version.items())
    )


def fetch_image_tags(
    runtime: Runtime, address: str, image: str, settings: InstallSettings, *, known: Mapping[str, str]
) -> tuple[tuple[Release, ...], Refs]:
    """Fetch the tags that name a version, the last pushed first, until a page holds only ``known`` ones.

    ``known`` maps a tag to its digest. The tags of an image, unlike git's, all have a day. Raises InfraError when the
    registry does not answer, or not with such a list.
    """
    tags: dict[str, _Tag] = {}
    complete = False
    until = time.monotonic() + _SECONDS
    for number in range(1, PAGES + 1):
        if time.monotonic() > until:
            raise InfraError(f"{address} takes longer than {_SECONDS:g} s for the tags of {image}")
        page = _page(address, image, settings, number)
        new = {tag.name: tag for tag in page.results if tag.version is not None}
        tags = new | tags
        complete = page.next is None
        if complete or (new and all(known.get(tag.name) == tag.digest for tag in new.values())):
            break
    releases = tuple(
        # the tag as it is written: the address of the release archive contains it
        Release(runtime, tag.name, channel_of(tag.version), tag.pushed_at)
        for tag in tags.values()
        if tag.version is not None and tag.pushed_at is not None
    )
    return releases, Refs({tag.name: tag.digest for tag in tags.values() if tag.digest}, complete=complete)


def _page(address: str, image: str, settings: InstallSettings, number: int) -> _Page:
    namespace, _, repository = image.partition("/")
    # the address of the next page is made here: one from the server's answer could lead elsewhere
    path = f"/v2/namespaces/{namespace}/repositories/{repository}/tags?page_size={_PER_PAGE}&page={number}"
    document = fetch(address.rstrip("/") + path, settings)
    if document is None:
        raise InfraError(f"{address} has no image {image}", hint="check releases.registry and releases.image")
    try:
        return _Page.model_validate_json(document.body)
    except ValidationError as error:
        raise InfraError(f"{address} does not list tags in the known form: {str(error)[:200]}") from error
