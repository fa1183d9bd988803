"""What is to be measured, and the release archive that this means."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.failures import InstallFailure, InstallFault, InstallStage
from monitor.domain import Channel, Depth, InstalledAsOf, Origin
from monitor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from containers.recipe import Recipe, Wanted
    from monitor.config.settings import ArchiveSettings
    from monitor.domain import Runtime, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """Which subjects to probe, in which release at which moment, and which history the answer belongs to."""

    runtime: Runtime
    day: date
    cutoff: datetime
    subjects: Sequence[Subject]
    channel: Channel = Channel.STABLE
    version: str = ""  # "" is the newest that a user gets
    origin: Origin = Origin.LIVE
    force: bool = False  # probe even where nothing has changed
    depth: Depth = Depth.NEEDED
    seed: int = 0  # of everything random in a probe
    extra_pins: tuple[str, ...] = ()  # other packages pinned by hand, as name==version
    installed: InstalledAsOf = InstalledAsOf.RUN_DAY  # of what ``cutoff`` is the end

    def recorded_version(self, version: str) -> str:
        """Return the version with the extra pins: with those, a verdict says nothing about the release itself."""
        return " ".join((version, "with", *self.extra_pins)) if self.extra_pins else version

    def needs_configured_archive(self, recipe: Recipe) -> bool:
        """Return whether a cycle takes the configured archive: where it is missing, the cycle of others goes on."""
        by_hand = self.version or self.force or self.origin is not Origin.LIVE
        return recipe.archive is not None and not by_hand


def archive_of(request: ProbeRequest, recipe: Recipe, configured: ArchiveSettings) -> Wanted | InstallFailure | None:
    """Return the archive to install, None for a runtime that is a Python package.

    Raises UsageError where a request by hand names no version; for a cycle that is an installation that failed.
    """
    if recipe.archive is None:
        return None
    try:
        version = _archive_version(request, configured)
    except UsageError as error:
        if not request.needs_configured_archive(recipe):
            raise
        return InstallFailure(InstallStage.RESOLVE, InstallFault.RECIPE, f"{error}: {error.hint}", b"", 0.0)
    archive = recipe.archive
    if configured.archive:
        # a sum of the publisher's own list speaks of the publisher's own file
        archive = replace(archive, addresses=(configured.archive,), sums=configured.sums)
    sha256 = configured.sha256 if version == configured.version or not request.version else ""
    return archive.of(recipe.runtime, version, platform.machine(), sha256=sha256)


def _archive_version(request: ProbeRequest, configured: ArchiveSettings) -> str:
    runtime, version = request.runtime, request.version or configured.version
    if not version:
        raise UsageError(
            f"{runtime} has no list of releases to choose the newest from",
            hint=f"name one (`--runtime {runtime}==0.13.5`), or set install.{runtime}.version in the configuration",
        )
    if request.origin is Origin.REPLAY and not request.version:
        raise UsageError(
            f"the release days of {runtime} are not known, so no past day can be rebuilt",
            hint=f"name a version: `settle probe MODEL --runtime {runtime}=={version}`",
        )
    return version
