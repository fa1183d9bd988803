"""Ollama's releases as the tags of its image: there, unlike among git's tags, every one has a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated

from packaging.version import InvalidVersion, Version
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from monitor.domain import Release
from monitor.errors import InfraError
from monitor.sources.compatibility import channel_of
from monitor.sources.release_events import Refs
from monitor.sources.web import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from containers.settings import InstallSettings
    from monitor.domain import Runtime

PAGES = 40
_PER_PAGE = 100


class _Tag(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(max_length=128)]
    digest: Annotated[str, Field(max_length=100)] = ""
    tag_last_pushed: AwareDatetime | None = None
    last_updated: AwareDatetime | None = None

    @property
    def pushed_at(self) -> datetime | None:
        return self.tag_last_pushed or self.last_updated


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True)

    next: Annotated[str, Field(max_length=2000)] | None = None
    results: Annotated[list[_Tag], Field(max_length=_PER_PAGE)]


@dataclass(frozen=True, slots=True)
class ImageTags:
    releases: tuple[Release, ...]
    refs: Refs


def fetch_image_tags(
    runtime: Runtime, address: str, image: str, settings: InstallSettings, *, known: Mapping[str, str]
) -> ImageTags:
    """Ask for the tags that name a version, the last pushed first, until a page of them is ``known``, name to digest.

    Raises BenchError when the server does not answer, or with something else than its list.
    """
    tags: dict[str, _Tag] = {}
    whole = False
    for number in range(1, PAGES + 1):
        page = _page(address, image, settings, number)
        new = {tag.name: tag for tag in page.results if _version(tag.name) is not None}
        tags = new | tags
        whole = page.next is None
        if whole or (new and all(known.get(tag.name) == tag.digest for tag in new.values())):
            break
    return ImageTags(
        releases=tuple(release for tag in tags.values() if (release := _release(runtime, tag)) is not None),
        refs=Refs({tag.name: tag.digest for tag in tags.values() if tag.digest}, whole=whole),
    )


def _page(address: str, image: str, settings: InstallSettings, number: int) -> _Page:
    namespace, _, repository = image.partition("/")
    # the next page's address is the server's word; ours cannot lead elsewhere
    path = f"/v2/namespaces/{namespace}/repositories/{repository}/tags?page_size={_PER_PAGE}&page={number}"
    document = fetch(address.rstrip("/") + path, settings)
    if document is None:
        raise InfraError(f"{address} has no image {image}", hint="look at releases.registry and releases.image")
    try:
        return _Page.model_validate_json(document.body)
    except ValidationError as error:
        raise InfraError(f"{address} does not list tags as it used to: {str(error)[:200]}") from error


def _release(runtime: Runtime, tag: _Tag) -> Release | None:
    version = _version(tag.name)
    if version is None or tag.pushed_at is None:
        return None
    # the tag as it is written: the address of the release archive is made of it
    return Release(runtime, tag.name, channel_of(version), tag.pushed_at)


def _version(name: str) -> Version | None:
    """Return what a tag names; ``latest`` moves by its nature, and ``0.31.2-rocm`` is another build of a release."""
    try:
        return Version(name)
    except InvalidVersion:
        return None
