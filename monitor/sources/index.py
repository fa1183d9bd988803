"""The releases of a runtime as the package index lists them, and which of them a platform can install."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pypi_simple import ProjectPage

from containers.installer import supported_tags
from containers.lock import SOURCES
from containers.recipe import Wanted, source_shape
from containers.recipes import recipe_of
from monitor.domain import Channel, Compatibility, Release
from monitor.errors import SettleError, UnknownName
from monitor.sources.bounds import NAME_CHARACTERS, parsed_json, plausible, reading, version_of
from monitor.sources.web import fetch

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

    from packaging.tags import Tag
    from pypi_simple import DistributionPackage

    from containers.lock import Pin
    from containers.recipe import Recipe
    from containers.settings import InstallSettings
    from monitor.domain import Runtime
    from monitor.sources.web import Document

_DEFAULT_INDEX = "https://pypi.org/simple/"
_LIMIT_BYTES = 64 << 20  # torch's page has 4 MB
_SECONDS = 60.0
_MOST_FILES = 100_000  # of a distribution
_MOST_TAGS = 256  # that a file's name spells in full: the product of its three lists
_TEXT_CHARACTERS = 500
_HINT = "`settle doctor` checks the index, the proxy and the certificate authority"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"  # PEP 691


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    releases: tuple[Release, ...]  # oldest version first
    served_at: datetime | None  # the server's clock
    has_upload_times: bool


def fetch_releases(runtime: Runtime, distribution: str, settings: InstallSettings) -> IndexAnswer:
    """Ask the index for every release of a distribution (PEP 691 and 700).

    The publication time of a release is the upload time of its first file. Raises InfraError when the index does not
    answer and UnknownName when it has no such distribution.
    """
    packages, served_at = _fetch(distribution, settings)
    return IndexAnswer(
        releases=releases_of(runtime, packages),
        served_at=served_at,
        has_upload_times=any(package.upload_time for package in packages),
    )


def newest_wheel(packages: Iterable[DistributionPackage], *, cutoff: datetime, tags: Container[Tag]) -> str:
    """Return the newest stable version that had a fitting wheel by then: single wheels come long after a release."""
    stable = [
        version
        for package in packages
        if (version := version_of(package.version)) is not None and not version.is_prerelease
        if package.package_type == "wheel" and package.upload_time and package.upload_time <= cutoff
        if not package.is_yanked and wheel_fits(package.filename, tags)
    ]
    return str(max(stable)) if stable else ""


def fetch_source(
    alternatives: Iterable[str], pinned: Mapping[str, str], settings: InstallSettings, *, cutoff: datetime
) -> Wanted | None:
    """Ask for the source archive of the first distribution that meets its requirement; None where none does.

    Raises as above.
    """
    for requirement in map(Requirement, alternatives):
        name = canonicalize_name(requirement.name)
        if name in pinned and not requirement.specifier.contains(pinned[name], prereleases=True):
            continue
        package = source_of(_fetch(name, settings)[0], requirement, pinned.get(name, ""), cutoff=cutoff)
        if package is not None:
            version, digests = package.version or "", package.digests or {}
            shape = source_shape(package.url)
            return Wanted(f"{SOURCES}{name}", version, (package.url,), shape, sha256=digests["sha256"])
    return None


def source_of(
    packages: Iterable[DistributionPackage], requirement: Requirement, pinned: str, *, cutoff: datetime
) -> DistributionPackage | None:
    """Choose a source archive, with its hash: the pinned version's, else that of the newest stable one by then."""
    candidates: dict[Version, DistributionPackage] = {}
    for package in packages:
        version = version_of(package.version)
        if version is None or package.package_type != "sdist" or not package.filename.endswith(".tar.gz"):
            continue
        if package.is_yanked or "sha256" not in (package.digests or {}):
            continue
        early = package.upload_time is not None and package.upload_time <= cutoff
        eligible = version == Version(pinned) if pinned else early and not version.is_prerelease
        if eligible and requirement.specifier.contains(version, prereleases=True):
            candidates[version] = package
    return candidates[max(candidates)] if candidates else None


def _fetch(distribution: str, settings: InstallSettings) -> tuple[list[DistributionPackage], datetime | None]:
    """Return the files of a distribution and the time on the server's clock."""
    index = (settings.index_url or _DEFAULT_INDEX).rstrip("/")
    address = f"{index}/{canonicalize_name(distribution)}/"
    document = fetch(address, settings, accept=_ACCEPT, limit_bytes=_LIMIT_BYTES, seconds=_SECONDS)
    if document is None:
        raise UnknownName("package on the index", distribution, ())
    with reading(f"the page of {distribution} on the package index", hint=_HINT):
        return _files_of(document, distribution), document.served_at


def _files_of(document: Document, distribution: str) -> list[DistributionPackage]:
    """Return the files of a page that an installer could take, with upload times in UTC."""
    match document.media_type:
        case "application/vnd.pypi.simple.v1+json":
            page = ProjectPage.from_json_data(parsed_json(document.body), document.url)
        case "application/vnd.pypi.simple.v1+html" | "text/html":
            page = ProjectPage.from_html(distribution, document.body, document.url)
        case other:
            raise ValueError(f"its type is {other!r}")
    if len(page.packages) > _MOST_FILES:
        raise ValueError(f"it lists {len(page.packages)} files")
    for package in page.packages:
        package.upload_time = plausible(package.upload_time)
        package.requires_python = (package.requires_python or "")[:_TEXT_CHARACTERS]
        package.yanked_reason = package.yanked_reason and package.yanked_reason[:_TEXT_CHARACTERS]
    return [package for package in page.packages if len(package.filename) <= NAME_CHARACTERS]


def releases_of(runtime: Runtime, packages: list[DistributionPackage]) -> tuple[Release, ...]:
    """Group files into releases; a release is yanked when all its files are."""
    files: dict[Version, list[DistributionPackage]] = {}
    for package in packages:
        if (version := version_of(package.version)) is not None:  # a file without a version belongs to no release
            files.setdefault(version, []).append(package)
    return tuple(
        release
        for version, group in sorted(files.items())
        if (release := _release(runtime, version, group)) is not None
    )


def _release(runtime: Runtime, version: Version, group: list[DistributionPackage]) -> Release | None:
    times = [package.upload_time for package in group if package.upload_time]
    if not times:
        return None  # an index without upload times gives no publication day
    yanked = all(package.is_yanked for package in group)
    return Release(
        runtime=runtime,
        version=str(version),
        channel=channel_of(version),
        published_at=min(times),
        yanked=(group[0].yanked_reason or "yes") if yanked else "",
        requires_python=next((package.requires_python for package in group if package.requires_python), ""),
        wheels=tuple(sorted(package.filename for package in group if package.package_type == "wheel")),
        has_sources=any(package.package_type == "sdist" for package in group),
    )


def installable(settings: InstallSettings, runtime: Runtime, accelerator: str) -> IndexAnswer:
    """Fetch the releases of the package that is installed on this platform. Raises as above."""
    return fetch_releases(runtime, recipe_of(runtime, accelerator).distribution, settings)


def available_releases(settings: InstallSettings, runtime: Runtime, accelerator: str) -> tuple[Release, ...]:
    """Fetch every release under the runtime's name, with the files of the package that is installed. Raises as above.

    A release's day is that of the runtime's name: the package for a platform may have another name and follow later.
    """
    recipe = recipe_of(runtime, accelerator)
    releases = fetch_releases(runtime, recipe.runtime, settings).releases
    if recipe.distribution != recipe.runtime:
        packages = {release.version: release for release in installable(settings, runtime, accelerator).releases}
        releases = tuple(
            replace(
                release,
                requires_python=package.requires_python,
                wheels=package.wheels,
                has_sources=package.has_sources,
            )
            if (package := packages.get(release.version))
            else replace(release, wheels=(), has_sources=False)
            for release in releases
        )
    return tuple(with_compatibility(release, settings) for release in releases)


def with_compatibility(release: Release, settings: InstallSettings) -> Release:
    tags = supported_tags(settings.python)
    return replace(release, compatibility=compatibility_of(release, python=settings.python, tags=tags))


def newest_installable(settings: InstallSettings, recipe: Recipe, cutoff: datetime) -> str | None:
    """Choose the version of a package that has another name than its runtime; None leaves the choice to the resolver.

    The wheels of such a package pin one build of torch. A resolver that lacks this build silently goes back to releases
    of years ago that pinned nothing.
    """
    if recipe.distribution == recipe.runtime:
        return None
    try:
        packages, _ = _fetch(recipe.distribution, settings)
    except SettleError:
        return None  # the resolver reports what is wrong with the index
    return newest_wheel(packages, cutoff=cutoff, tags=supported_tags(settings.python)) or None


def download_bytes(pins: Iterable[Pin], settings: InstallSettings) -> int:
    """Return the size of the files that an installer takes for these pins, as far as the index gives it."""
    tags, size = supported_tags(settings.python), 0
    for pin in pins:
        try:
            packages, _ = _fetch(pin.name, settings)
        except SettleError:
            continue  # a size that is too small is better than no installation
        size += max((package.size or 0 for package in packages if _is_taken(package, pin, tags)), default=0)
    return size


def _is_taken(package: DistributionPackage, pin: Pin, tags: Container[Tag]) -> bool:
    digest = (package.digests or {}).get("sha256")
    return f"sha256:{digest}" in pin.hashes and wheel_fits(package.filename, tags)


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
    except (InvalidSpecifier, ValueError):
        return True  # installers ignore what they cannot parse, too


def wheel_fits(name: str, tags: Container[Tag]) -> bool:
    lists = name.removesuffix(".whl").split("-")[-3:]
    if len(name) > NAME_CHARACTERS or prod(part.count(".") + 1 for part in lists) > _MOST_TAGS:
        return False
    try:
        return any(tag in tags for tag in parse_wheel_filename(name)[3])
    except (InvalidWheelFilename, ValueError):  # a build number of 5,000 digits is none
        return False
