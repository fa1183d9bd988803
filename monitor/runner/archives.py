"""Which archive a question means: the version it names or the configuration does, from where the latter says."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING

from containers.failures import InstallFailure, InstallFault, Stage
from containers.recipes import RECIPES
from monitor.domain import Origin
from monitor.errors import UsageError

if TYPE_CHECKING:
    from containers.recipe import Wanted
    from monitor.config.settings import Config
    from monitor.domain import Runtime
    from monitor.runner.request import ProbeRequest


def nobody_named(request: ProbeRequest) -> bool:
    """Tell whether a cycle asks for whatever archive is configured: that there is none is ours, and others go on."""
    by_hand = request.version or request.force or request.origin is not Origin.LIVE
    return RECIPES[request.runtime].archive is not None and not by_hand


def archive_meant(request: ProbeRequest, config: Config) -> Wanted | InstallFailure | None:
    """Return what ``artefact_wanted`` does. Who asks by hand is told what to name; a cycle says why it has nothing."""
    try:
        return artefact_wanted(request.runtime, request.version, request.origin, config)
    except UsageError as error:
        if not nobody_named(request):
            raise
        return InstallFailure(Stage.RESOLVE, InstallFault.RECIPE, f"{error}: {error.hint}", b"", 0.0)


def artefact_wanted(runtime: Runtime, version: str, origin: Origin, config: Config) -> Wanted | None:
    """Return the artefact, None for a runtime that is a Python package. Raises UsageError where no version is named."""
    recipe = RECIPES[runtime]
    if recipe.archive is None:
        return None
    own = config.install.ollama
    named = version or own.version
    if not named:
        raise UsageError(
            f"{runtime} has no list of releases to choose the newest from",
            hint=f"name one (`--runtime {runtime}==0.13.5`), or set install.{runtime}.version in the configuration",
        )
    if origin is Origin.REPLAY and not version:
        raise UsageError(
            f"when the releases of {runtime} came out is not known, so no past day can be rebuilt",
            hint=f"name a version: `settle probe MODEL --runtime {runtime}=={named}`",
        )
    archive = recipe.archive
    if own.archive:
        # a sum of the publisher's own list speaks of the publisher's own file
        archive = replace(archive, addresses=(own.archive,), sums=own.sums)
    sha256 = own.sha256 if named == own.version or not version else ""
    return archive.of(recipe.runtime, named, platform.machine(), sha256=sha256)
