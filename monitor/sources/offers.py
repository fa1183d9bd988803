"""What the index offers a platform, where a runtime's package there has another name and comes after it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from containers.recipes import recipe_of
from containers.uv_command import fitting_tags
from monitor.errors import SettleError
from monitor.sources.access import index_access
from monitor.sources.compatibility import compatibility_of
from monitor.sources.index import fetch_newest_wheel, fetch_releases

if TYPE_CHECKING:
    from datetime import datetime

    from containers.recipe import Recipe
    from containers.settings import InstallSettings
    from monitor.domain import Release, Runtime
    from monitor.sources.index import IndexAnswer


def installable(settings: InstallSettings, runtime: Runtime, accelerator: str) -> IndexAnswer:
    """Ask the index what can be installed on this platform. Raises BenchError when it does not answer."""
    distribution = recipe_of(runtime, accelerator).distribution
    return fetch_releases(runtime, distribution, index_access(settings))


def available_releases(settings: InstallSettings, runtime: Runtime, accelerator: str) -> tuple[Release, ...]:
    """Ask the index for every release by the runtime's own name, with the files of the package that is installed.

    A release's day is that of its own name, whatever the package for a platform is called and when that followed.
    Raises BenchError when the index does not answer.
    """
    own, access = recipe_of(runtime, accelerator), index_access(settings)
    releases = fetch_releases(runtime, own.runtime, access).releases
    if own.distribution != own.runtime:
        installed = {one.version: one for one in fetch_releases(runtime, own.distribution, access).releases}
        releases = tuple(_with_files_of(one, installed.get(one.version)) for one in releases)
    return tuple(with_compatibility(release, settings) for release in releases)


def with_compatibility(release: Release, settings: InstallSettings) -> Release:
    tags = fitting_tags(settings.python)
    return replace(release, fit=compatibility_of(release, python=settings.python, tags=tags))


def _with_files_of(release: Release, installed: Release | None) -> Release:
    if installed is None:
        return replace(release, wheels=(), has_sources=False)
    return replace(
        release,
        requires_python=installed.requires_python,
        wheels=installed.wheels,
        has_sources=installed.has_sources,
    )


def newest_installable(settings: InstallSettings, own: Recipe, cutoff: datetime) -> str | None:
    """Choose the version where the package has another name than the runtime; None where the resolver chooses.

    Its wheels pin torch to one build, and a resolver that finds no such build goes back, silently, to releases of years
    ago that pinned nothing.
    """
    if own.distribution == own.runtime:
        return None
    try:
        newest = fetch_newest_wheel(
            own.distribution, index_access(settings), cutoff=cutoff, tags=fitting_tags(settings.python)
        )
    except SettleError:
        return None  # the resolver will say what is wrong with the index
    return newest or None
