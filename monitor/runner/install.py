"""Installs the release that a request asks for, and records the installer's answer, whatever it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.builder import ListedVersions
from containers.failures import InstallFailure, InstallFault, InstallStage
from containers.lock import parse_lock
from containers.recipes import RECIPES
from monitor.domain import InstalledAsOf, Origin
from monitor.errors import NotReleased, SettleError, UnknownName, UsageError
from monitor.judge.runs import Stage
from monitor.runner.request import archive_of
from monitor.sources.index import (
    available_releases,
    download_bytes,
    fetch_releases,
    fetch_source,
    installable,
    newest_installable,
)
from monitor.store import EnvironmentRecord, ResolutionRecord
from monitor.store.records import failed_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from containers.environment import Environment
    from containers.environments import Environments
    from containers.lock import Lock
    from containers.recipe import Recipe
    from containers.resolving import Resolution
    from containers.settings import InstallSettings
    from monitor.config.settings import Install
    from monitor.domain import Platform, Release, Runtime
    from monitor.progress import Progress
    from monitor.runner.request import ProbeRequest
    from monitor.store import Store

WORTH_A_WORD = 100_000_000  # bytes to download
UNPACKED = 2.2  # bytes on disk for a byte of torch's wheels
_STAGES = {
    InstallStage.RESOLVE: Stage.RESOLVES,
    InstallStage.INSTALL: Stage.BUILDS,
    InstallStage.VERIFY: Stage.CONSISTENT,
}


@dataclass(frozen=True, slots=True)
class InstallResult:
    """An answered installation: ``environment`` is None where it failed; ``key`` names it in a fingerprint."""

    resolution_id: str
    version: str
    key: str
    environment: Environment | None
    failure: InstallFailure | None = None


@dataclass(frozen=True, slots=True)
class Installer:
    """Installs releases of one runtime."""

    recipe: Recipe
    store: Store
    environments: Environments
    platform: Platform
    settings: InstallSettings
    config: Install
    progress: Progress
    now: Callable[[], datetime]

    def install(self, request: ProbeRequest) -> InstallResult:
        """Resolve, then build what is not there.

        Raises UnknownName for a version that does not exist, and NotReleased for a day before the first release.
        """
        if request.origin is Origin.LIVE or not request.version:
            self.learn_releases(request.runtime)
        resolution = self._resolve(request)
        if isinstance(resolution, InstallFailure):
            return self._failed(request, resolution)
        record = self._environment(request, resolution)
        count = len(record.packages)
        self.progress.message(
            f"{request.runtime} {record.version}: {count} packages, resolved in {resolution.seconds:.1f} s"
        )
        if self.environments.find(record.digest) is None:
            self.progress.message(f"installing {count} packages (the first time they are downloaded, too)")
            if copied := self.environments.copied_bytes:
                self.progress.message(
                    f"the files are copied, not linked: about {copied / 1e9:.1f} GB for each environment, unless the"
                    " file system shares blocks (bubblewrap, Docker or Podman would let them be links)"
                )
            if too_large := self._announce_torch(resolution):
                return self._failed(request, too_large, version=record.version)
        environment = self._build(resolution.lock, record.version)
        if isinstance(environment, InstallFailure):
            return self._failed(request, environment, version=record.version)
        answer = self._record(request, resolution, replace(record, build_s=environment.seconds))
        return InstallResult(answer.id, answer.version, environment.digest, environment)

    def resolve_only(self, request: ProbeRequest) -> EnvironmentRecord | InstallResult:
        """Resolve without building, and record that; return the failed installation where it fails."""
        resolution = self._resolve(request)
        if isinstance(resolution, InstallFailure):
            return self._failed(request, resolution)
        record = self._environment(request, resolution)
        self._record(request, resolution, record)
        return record

    def rebuild(self, record: EnvironmentRecord, resolution_id: str) -> InstallResult | InstallFailure:
        """Build the environment of an earlier resolution from its lock."""
        environment = self._build(parse_lock(record.lock, base_digest=record.base_digest), record.version)
        if isinstance(environment, InstallFailure):
            return environment
        return InstallResult(resolution_id, record.version, environment.digest, environment)

    def learn_releases(self, runtime: Runtime) -> None:
        """Record the releases that the index lists; where it does not answer, resolving fails, too, and says why."""
        if self.recipe.archive is not None:
            return  # on the index a client may go by its name, and that one's releases are not its own
        try:
            releases = available_releases(self.settings, runtime, self.platform.accelerator)
        except SettleError as error:
            self.progress.message(f"releases of {runtime} are not listed: {error}")
            return
        self.store.record_releases(releases, self.now())

    def listed_releases(self, runtime: Runtime) -> Sequence[Release]:
        """Ask the index by the runtime's name: it has each release's day. Raises InfraError when it does not answer."""
        return fetch_releases(runtime, RECIPES[runtime].runtime, self.settings).releases

    def _resolve(self, request: ProbeRequest) -> Resolution | InstallFailure:
        recipe, version = self.recipe, request.version
        wanted = f"{request.runtime}=={version}" if version else f"the newest {request.runtime}"
        of_its_day = ", its release day" if request.installed is InstalledAsOf.RELEASE_DAY else ""
        self.progress.message(
            f"resolving {request.recorded_version(wanted)} as of {request.cutoff:%Y-%m-%d %H:%M} UTC{of_its_day}"
        )
        newest = version or newest_installable(self.settings, recipe, request.cutoff)
        archive = archive_of(request, recipe, self.config.ollama)
        if isinstance(archive, InstallFailure):
            return archive
        result = self.environments.resolve(
            (*recipe.requirements(newest), *request.extra_pins),
            request.cutoff,
            extra=self.config.extra,
            exempt=self._exempt(request),
            listed=self._listed_by(request),
            progress=self.progress.message,
            build_env=recipe.build_environment,
            overrides=recipe.overrides(newest),
            index_torch=recipe.index_torch,
        )
        if archive is not None and not isinstance(result, InstallFailure):
            result = self.environments.with_artefact(result, archive)
        if isinstance(result, InstallFailure):
            not_built = result.slug is InstallFault.NOT_BUILT and recipe.distribution in result.sources
            return replace(result, slug=InstallFault.RUNTIME_NOT_BUILT) if not_built else result
        return self._with_sources(request, result) if recipe.sources else result

    def _exempt(self, request: ProbeRequest) -> tuple[str, ...]:
        """Return the packages that the cutoff does not touch: the package for the platform may follow its release."""
        recipe = self.recipe
        if request.installed is InstalledAsOf.RELEASE_DAY and recipe.distribution != recipe.runtime:
            return (*recipe.exempt, recipe.distribution)
        return recipe.exempt

    def _with_sources(self, request: ProbeRequest, resolution: Resolution) -> Resolution | InstallFailure:
        """Add the sources that a probe reads; where there are none, the runtime is not to blame."""
        sources, pinned = self.recipe.sources, resolution.lock.versions
        try:
            archive = fetch_source(sources, pinned, self.settings, cutoff=request.cutoff)
            slug, reason = InstallFault.RECIPE, f"no sources of {', '.join(sources)} were published by then"
        except SettleError as error:
            archive, slug, reason = None, InstallFault.INDEX, str(error)
        if archive is None:
            return InstallFailure(InstallStage.RESOLVE, slug, reason, b"", resolution.seconds)
        return self.environments.with_artefact(resolution, archive)

    def _listed_by(self, request: ProbeRequest) -> ListedVersions | None:
        """Return the index's list of that day, where the newest is asked for: it may have come without a wheel."""
        recipe = self.recipe
        if request.version or request.extra_pins or recipe.distribution != recipe.runtime:
            return None
        versions = tuple(
            release.version
            for release in self.store.releases(request.runtime)
            if release.channel is request.channel and not release.yanked and release.published_at <= request.cutoff
        )
        return ListedVersions(recipe.runtime, versions)

    def _announce_torch(self, resolution: Resolution) -> InstallFailure | None:
        """Write the size of a torch of many gigabytes before its download; return a failure where it does not fit."""
        lock = resolution.lock
        torch = [pin for pin in lock.packages if pin.name == "torch" or pin.name.startswith("nvidia-")]
        if len(torch) <= 1 or not (missing := self.environments.not_installed_anywhere(torch)):
            return None  # a CPU build, or the cache has them
        size = download_bytes(missing, self.settings)
        if size < WORTH_A_WORD:
            return None  # a later patch of a small one; the cache has the gigabytes
        version = next(pin.version for pin in torch if pin.name == "torch")
        self.progress.message(
            f"to download: {size / 1e9:.1f} GB, the index's build of torch {version} with {len(torch) - 1} packages for"
            " CUDA; all releases with that torch share it"
        )
        free, needed = self.environments.free_bytes(), int(size * UNPACKED) + self.settings.free_bytes
        if free >= needed:
            return None
        reason = f"torch {version} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        return InstallFailure(InstallStage.INSTALL, InstallFault.DISK, reason, b"", resolution.seconds)

    def _build(self, lock: Lock, version: str) -> Environment | InstallFailure:
        environment = self.environments.ensure(lock, allowed_conflicts=self.recipe.allowed_conflicts(version))
        if isinstance(environment, InstallFailure):
            return environment
        name = f"environment {environment.digest[:12]}"
        built = environment.built
        self.progress.message(
            f"installed {name} in {environment.seconds:.1f} s" if built else f"{name} is there already"
        )
        return environment

    def _environment(self, request: ProbeRequest, resolution: Resolution) -> EnvironmentRecord:
        pinned = resolution.lock.versions
        return EnvironmentRecord(
            digest=resolution.lock.digest,
            runtime=request.runtime,
            version=pinned.get(self.recipe.distribution, request.version),
            platform=self.platform,
            base_digest=resolution.lock.base_digest,
            lock=resolution.lock.text,
            packages=pinned,
            created_at=self.now(),
            resolve_s=resolution.seconds,
        )

    def _record(self, request: ProbeRequest, resolution: Resolution, record: EnvironmentRecord) -> ResolutionRecord:
        answer = self._answer(request, record.version, resolution.seconds)
        answer = replace(answer, environment_digest=record.digest)
        self.store.record_resolution(answer, record)
        return answer

    def _failed(self, request: ProbeRequest, failure: InstallFailure, *, version: str = "") -> InstallResult:
        if failure.no_such_version:
            if not request.needs_configured_archive(self.recipe):
                raise self._no_such_version(request, failure)
            failure = replace(failure, slug=InstallFault.RECIPE)
        if early := self._before_the_first_release(request, failure):
            raise early
        self.progress.message(f"not installed ({failure.slug}): {failure.message.splitlines()[0][:200]}")
        answer = replace(
            self._answer(request, version or request.version, failure.seconds),
            failed=_STAGES[failure.stage],
            fault=str(failure.slug),
            message=failure.message,
            log=failure.log,
        )
        self.store.record_resolution(answer)
        key = failed_environment(request.runtime, answer.requested, request.cutoff.date(), failure.slug)
        return InstallResult(answer.id, answer.version, key, None, failure)

    def _answer(self, request: ProbeRequest, version: str, seconds: float) -> ResolutionRecord:
        return ResolutionRecord(
            id=uuid.uuid4().hex,
            day=request.day,
            origin=request.origin,
            runtime=request.runtime,
            channel=request.channel,
            platform=self.platform,
            requested=request.recorded_version(request.version).strip(),
            version=request.recorded_version(version),
            cutoff=request.cutoff,
            at=self.now(),
            seconds=seconds,
        )

    def _installable(self, runtime: Runtime) -> Sequence[Release]:
        return installable(self.settings, runtime, self.platform.accelerator).releases

    def _no_such_version(self, request: ProbeRequest, failure: InstallFailure) -> UsageError:
        if self.recipe.archive is not None:
            return UsageError(
                f"there is no such release: {failure.message}",
                hint=f"is the version right, and install.{request.runtime}.archive, if it is configured?",
            )
        if request.extra_pins:
            name = request.recorded_version(f"{request.runtime}=={request.version}".removesuffix("=="))
            return UsageError(f"there is no {name} on the index", hint="check each version")
        releases = self._installable(request.runtime)
        of_its_day = request.installed is InstalledAsOf.RELEASE_DAY
        versions = [release.version for release in releases if of_its_day or release.published_at <= request.cutoff]
        if releases and not versions:
            return _not_released(request, releases)
        return UnknownName(
            f"release of {request.runtime} up to {request.day}",
            request.version,
            versions,
            hint=f"the newest on that day is {versions[-1] if versions else 'none'}",
        )

    def _before_the_first_release(self, request: ProbeRequest, failure: InstallFailure) -> NotReleased | None:
        """Return the error for a day before the first release: no fault, and no verdict about any model."""
        stage, slug = failure.stage, failure.slug
        if self.recipe.archive is not None or (stage, slug) != (InstallStage.RESOLVE, InstallFault.UNRESOLVABLE):
            return None
        if request.installed is InstalledAsOf.RELEASE_DAY:
            return None  # it exists on its day, whenever the package for this platform followed
        try:
            releases = self._installable(request.runtime)
        except SettleError:
            return None  # the failure says more than a silent index
        early = releases and all(release.published_at > request.cutoff for release in releases)
        return _not_released(request, releases) if early else None


def _not_released(request: ProbeRequest, releases: Sequence[Release]) -> NotReleased:
    first = min(releases, key=lambda release: release.published_at)
    return NotReleased(
        f"no release of {request.runtime} existed on {request.day}",
        hint=f"the first is {first.version} of {first.published_at:%Y-%m-%d}",
    )
