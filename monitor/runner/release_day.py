"""Dates a request for a pinned version by the day on which that version was published."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from monitor.domain import InstalledAsOf, version_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.domain import Release
    from monitor.runner.parallel import Runner
    from monitor.runner.request import ProbeRequest


def as_of_release_day(runner: Runner, request: ProbeRequest) -> ProbeRequest:
    """Return the request as of the end of its version's release day, or unchanged where that day is not known.

    The day is that of the runtime's name: the package for a platform may have another name and follow weeks later.
    """
    if request.runtime.record.image:  # its releases are an archive's, and only its tags have days
        releases = runner.store.releases(request.runtime)
    else:
        runner.tools_for(request.runtime).installer.learn_releases(request.runtime)
        releases = runner.store.releases(request.runtime)
    dated = dated_by(releases, request)
    if dated.installed is not InstalledAsOf.RELEASE_DAY:
        runner.progress.message(
            f"the release day of {request.runtime} {request.version} is not known: installing as of {request.day}"
        )
    return dated


def dated_by(releases: Iterable[Release], request: ProbeRequest) -> ProbeRequest:
    """Return the request with day and cutoff of the release that it names, if it is listed."""
    wanted, _ = version_order(request.version)
    for release in releases:
        if version_order(release.version)[0] == wanted:
            day = release.published_at.astimezone(UTC).date()
            cutoff = min(request.cutoff, datetime.combine(day, time(23, 59, 59), UTC))
            return replace(request, day=day, cutoff=cutoff, installed=InstalledAsOf.RELEASE_DAY)
    return request
