"""The channel of a release and what a platform can install of it, from its metadata; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from monitor.domain import Channel, Compatibility

if TYPE_CHECKING:
    from collections.abc import Container

    from packaging.tags import Tag
    from packaging.version import Version

    from monitor.domain import Release


def channel_of(version: Version) -> Channel:
    """Return the channel: a development version is a nightly, whatever release it precedes."""
    if version.is_devrelease:
        return Channel.NIGHTLY
    return Channel.PRERELEASE if version.is_prerelease else Channel.STABLE


def compatibility_of(release: Release, *, python: str, tags: Container[Tag]) -> Compatibility:
    """Return what there is of a release for a Python such as 3.11 that takes wheels with these tags."""
    if release.wheels is None:
        return Compatibility.UNKNOWN
    if not _accepts(release.requires_python, python):
        return Compatibility.NOTHING
    if any(wheel_fits(name, tags) for name in release.wheels):
        return Compatibility.WHEEL
    return Compatibility.SOURCES if release.has_sources else Compatibility.NOTHING


def _accepts(requires_python: str, python: str) -> bool:
    try:
        # environments have the newest patch of their Python, which no release excludes
        return SpecifierSet(requires_python).contains(f"{python}.99")
    except InvalidSpecifier:
        return True  # installers ignore what they cannot parse, too


def wheel_fits(name: str, tags: Container[Tag]) -> bool:
    try:
        return any(tag in tags for tag in parse_wheel_filename(name)[3])
    except InvalidWheelFilename:
        return False
