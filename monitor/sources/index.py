"""Releases of a distribution as the package index lists them: versions, upload times, yanks."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pypi_simple import ACCEPT_JSON_PREFERRED, NoSuchProjectError, PyPISimple

from containers.lock import SOURCES
from containers.recipe import Wanted, source_shape
from monitor.domain import Release, Runtime
from monitor.errors import InfraError, UnknownName
from monitor.sources.compatibility import channel_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from packaging.tags import Tag
    from pypi_simple import DistributionPackage

DEFAULT_INDEX = "https://pypi.org/simple/"
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class IndexAccess:
    url: str = DEFAULT_INDEX
    ca_bundle: Path | None = None
    proxies: tuple[tuple[str, str], ...] = ()  # (scheme, url)


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    releases: tuple[Release, ...]  # oldest version first
    served_at: datetime | None  # the server's clock
    has_upload_times: bool


def fetch_releases(runtime: Runtime, distribution: str, access: IndexAccess) -> IndexAnswer:
    """Ask the index for every release of a distribution (PEP 691 and 700).

    The publication time of a release is the upload time of its first file. Raises BenchError when the index does not
    answer and UnknownName when it has no such distribution.
    """
    packages, served = _fetch(distribution, access)
    dates = [date for date in served if date]
    return IndexAnswer(
        releases=releases_of(runtime, packages),
        served_at=parsedate_to_datetime(dates[-1]) if dates else None,
        has_upload_times=any(package.upload_time for package in packages),
    )


def fetch_newest_wheel(distribution: str, access: IndexAccess, *, cutoff: datetime, tags: Container[Tag]) -> str:
    """Ask the index which version a user could install at a moment on a platform; "" for none. Raises as above."""
    return newest_wheel(_fetch(distribution, access)[0], cutoff=cutoff, tags=tags)


def newest_wheel(packages: Iterable[DistributionPackage], *, cutoff: datetime, tags: Container[Tag]) -> str:
    """Return the newest stable version that had a fitting wheel by then: single wheels come long after a release."""
    versions = {
        Version(package.version or "")
        for package in packages
        if package.package_type == "wheel" and package.upload_time and package.upload_time <= cutoff
        if not package.is_yanked and any(tag in tags for tag in parse_wheel_filename(package.filename)[3])
    }
    stable = [version for version in versions if not version.is_prerelease]
    return str(max(stable)) if stable else ""


def fetch_source(
    alternatives: Iterable[str], pinned: Mapping[str, str], access: IndexAccess, *, cutoff: datetime
) -> Wanted | None:
    """Ask for the source archive of the first distribution that meets its requirement; None where none does.

    Raises as above.
    """
    for text in alternatives:
        asked = Requirement(text)
        name = canonicalize_name(asked.name)
        if name in pinned and not asked.specifier.contains(pinned[name], prereleases=True):
            continue
        found = source_of(_fetch(name, access)[0], asked, pinned.get(name, ""), cutoff=cutoff)
        if found is not None:
            version, digests = found.version or "", found.digests or {}
            shape = source_shape(found.url)
            return Wanted(f"{SOURCES}{name}", version, (found.url,), shape, sha256=digests["sha256"])
    return None


def source_of(
    packages: Iterable[DistributionPackage], asked: Requirement, pinned: str, *, cutoff: datetime
) -> DistributionPackage | None:
    """Choose a source archive, with its hash: the pinned version's, else that of the newest stable one by then."""
    found: dict[Version, DistributionPackage] = {}
    for package in packages:
        if package.package_type != "sdist" or not package.filename.endswith(".tar.gz") or package.is_yanked:
            continue
        try:
            version = Version(package.version or "")
        except InvalidVersion:
            continue
        early = package.upload_time is not None and package.upload_time <= cutoff
        meant = version == Version(pinned) if pinned else early and not version.is_prerelease
        if meant and asked.specifier.contains(version, prereleases=True) and "sha256" in (package.digests or {}):
            found[version] = package
    return found[max(found)] if found else None


def _fetch(distribution: str, access: IndexAccess) -> tuple[list[DistributionPackage], list[str]]:
    """Return the files of a distribution, and what the server's clock said."""
    session = requests.Session()
    session.verify = str(access.ca_bundle) if access.ca_bundle else True
    session.proxies.update(dict(access.proxies))
    served: list[str] = []
    session.hooks["response"].append(lambda response, **_: served.append(response.headers.get("Date", "")))
    with PyPISimple(endpoint=access.url, session=session, accept=ACCEPT_JSON_PREFERRED) as client:
        try:
            page = client.get_project_page(distribution, timeout=_TIMEOUT_S)
        except NoSuchProjectError:
            raise UnknownName("package on the index", distribution, ()) from None
        except (requests.RequestException, ValueError) as error:
            raise InfraError(
                f"the package index does not answer: {type(error).__name__}: {str(error)[:200]}",
                hint="`settle doctor` checks index, proxy and certificate authority",
            ) from error
    return list(page.packages), served


def releases_of(runtime: Runtime, packages: list[DistributionPackage]) -> tuple[Release, ...]:
    """Group files into releases; a release is yanked when all its files are."""
    files: dict[Version, list[DistributionPackage]] = {}
    for package in packages:
        try:
            files.setdefault(Version(package.version or ""), []).append(package)
        except InvalidVersion:
            continue  # a file that names no version is nobody's release
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
