"""Installs the release that a question asks for, and records what the installer answered, whatever it was."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.builder import ListedVersions
from containers.failures import InstallFailure, InstallFault
from containers.failures import Stage as InstallerStage
from containers.lock import parse_lock
from containers.recipes import RECIPES, recipe_of
from monitor.domain import Origin
from monitor.errors import NotReleased, SettleError, UnknownName, UsageError
from monitor.judge.installs import Stage, failed_key
from monitor.runner.archives import archive_meant, nobody_named
from monitor.sources.access import install_settings
from monitor.sources.index import available_releases, fetch_releases, fetch_source, installable, newest_installable
from monitor.store import EnvironmentRecord, ResolutionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from containers.environment import Environment
    from containers.recipe import Recipe
    from containers.resolving import Resolution
    from monitor.domain import Release, Runtime
    from monitor.progress import Progress
    from monitor.runner.context import RunContext
    from monitor.runner.request import ProbeRequest
    from monitor.sources.index import IndexAnswer

_STAGES = {
    InstallerStage.RESOLVE: Stage.RESOLVES,
    InstallerStage.INSTALL: Stage.BUILDS,
    InstallerStage.VERIFY: Stage.CONSISTENT,
}


@dataclass(frozen=True, slots=True)
class InstallResult:
    """An answered installation: ``environment`` is None where it failed; ``key`` names it in a fingerprint."""

    resolution_id: str
    version: str
    key: str
    environment: Environment | None
    failure: InstallFailure | None = None


def install(context: RunContext, request: ProbeRequest, progress: Progress) -> InstallResult:
    """Resolve, then build what is not there.

    Raises UnknownName for a version that does not exist, and NotReleased for a day before the first release.
    """
    if request.origin is Origin.LIVE or not request.version:
        learn_releases(context, request.runtime, progress)
    resolution = _resolve(context, request, progress)
    if isinstance(resolution, InstallFailure):
        return _failed(context, request, resolution, progress)
    return _build(context, request, resolution, progress)


def resolve_only(context: RunContext, request: ProbeRequest, progress: Progress) -> EnvironmentRecord | InstallResult:
    """Resolve without building, and record that; where it fails, the failed place."""
    resolution = _resolve(context, request, progress)
    if isinstance(resolution, InstallFailure):
        return _failed(context, request, resolution, progress)
    record = _environment(context, request, resolution)
    _record(context, request, resolution, record)
    return record


def rebuild(
    context: RunContext, record: EnvironmentRecord, resolution_id: str, progress: Progress
) -> InstallResult | InstallFailure:
    """Build the environment of a resolution that was recorded before, from its lock."""
    own = recipe_of(record.runtime, context.platform.accelerator)
    lock = parse_lock(record.lock, base_digest=record.base_digest)
    environment = context.environments.ensure(lock, allowed_conflicts=own.allowed_conflicts(record.version))
    if isinstance(environment, InstallFailure):
        return environment
    _say_built(environment, progress)
    return InstallResult(resolution_id, record.version, environment.digest, environment)


def _resolve(context: RunContext, request: ProbeRequest, progress: Progress) -> Resolution | InstallFailure:
    asked = f"{request.runtime}=={request.version}" if request.version else f"the newest {request.runtime}"
    progress.message(f"resolving {request.told(asked)} as of {request.cutoff:%Y-%m-%d %H:%M} UTC")
    own = recipe_of(request.runtime, context.platform.accelerator)
    version = request.version or newest_installable(install_settings(context.config), own, request.cutoff)
    artefact = archive_meant(request, context.config)
    if isinstance(artefact, InstallFailure):
        return artefact
    result = context.environments.resolve(
        (*own.requirements(version), *request.beside),
        request.cutoff,
        extra=context.config.install.extra,
        exempt=own.exempt,
        listed=_listed_by(context, request, own),
        progress=progress.message,
        build_env=own.build_environment,
        artefact=artefact,
        overrides=own.overrides(version),
    )
    own_name = own.distribution
    if isinstance(result, InstallFailure) and result.slug is InstallFault.NOT_BUILT and own_name in result.sources:
        return replace(result, slug=InstallFault.RUNTIME_NOT_BUILT)
    if own.sources and not isinstance(result, InstallFailure):
        return _with_sources(context, request, own, result)
    return result


def _with_sources(
    context: RunContext, request: ProbeRequest, own: Recipe, resolution: Resolution
) -> Resolution | InstallFailure:
    """Have the sources that are to be read beside the packages; that there are none is no fault of the runtime."""
    settings, pinned = install_settings(context.config), resolution.lock.versions
    try:
        wanted = fetch_source(own.sources, pinned, settings, cutoff=request.cutoff)
        slug, why = InstallFault.RECIPE, f"nothing of {', '.join(own.sources)} was published as sources by then"
    except SettleError as error:
        wanted, slug, why = None, InstallFault.INDEX, str(error)
    if wanted is None:
        return InstallFailure(InstallerStage.RESOLVE, slug, why, b"", resolution.seconds)
    return context.environments.with_artefact(resolution, wanted)


def _listed_by(context: RunContext, request: ProbeRequest, own: Recipe) -> ListedVersions | None:
    """Return what the index listed on the day, where the newest is asked for: it may have come without a wheel."""
    if request.version or request.beside or own.distribution != own.runtime:
        return None
    there = tuple(
        one.version
        for one in context.store.releases(request.runtime)
        if one.channel is request.channel and not one.yanked and one.published_at <= request.cutoff
    )
    return ListedVersions(own.runtime, there)


def _build(context: RunContext, request: ProbeRequest, resolution: Resolution, progress: Progress) -> InstallResult:
    record = _environment(context, request, resolution)
    count = len(record.packages)
    progress.message(f"{request.runtime} {record.version}: {count} packages, resolved in {resolution.seconds:.1f} s")
    if context.environments.find(record.digest) is None:
        progress.message(f"installing {count} packages (the first time they are downloaded, too)")
    own = recipe_of(request.runtime, context.platform.accelerator)
    environment = context.environments.ensure(resolution.lock, allowed_conflicts=own.allowed_conflicts(record.version))
    if isinstance(environment, InstallFailure):
        return _failed(context, request, environment, progress, version=record.version)
    _say_built(environment, progress)
    answer = _record(context, request, resolution, replace(record, build_s=environment.seconds))
    return InstallResult(answer.id, answer.version, environment.digest, environment)


def _say_built(environment: Environment, progress: Progress) -> None:
    if environment.built:
        progress.message(f"installed environment {environment.digest[:12]} in {environment.seconds:.1f} s")
    else:
        progress.message(f"environment {environment.digest[:12]} is there already")


def _environment(context: RunContext, request: ProbeRequest, resolution: Resolution) -> EnvironmentRecord:
    pinned = resolution.lock.versions
    return EnvironmentRecord(
        digest=resolution.lock.digest,
        runtime=request.runtime,
        version=pinned.get(recipe_of(request.runtime, context.platform.accelerator).distribution, request.version),
        platform=context.platform,
        base_digest=resolution.lock.base_digest,
        lock=resolution.lock.text,
        packages=pinned,
        created_at=context.now(),
        resolve_s=resolution.seconds,
    )


def _record(
    context: RunContext, request: ProbeRequest, resolution: Resolution, record: EnvironmentRecord
) -> ResolutionRecord:
    answer = _answer(context, request, record.version, resolution.seconds)
    answer = replace(answer, environment_digest=record.digest)
    context.store.record_resolution(answer, record)
    return answer


def learn_releases(context: RunContext, runtime: Runtime, progress: Progress) -> None:
    """Record what the index lists; a silent index is said, and shows again when nothing can be resolved."""
    if RECIPES[runtime].archive is not None:
        return  # on the index a client may go by its name, and that one's releases are not its own
    try:
        releases = available_releases(install_settings(context.config), runtime, context.platform.accelerator)
    except SettleError as error:
        progress.message(f"releases of {runtime} are not listed: {error}")
        return
    context.store.record_releases(releases, context.now())


def _failed(
    context: RunContext, request: ProbeRequest, failure: InstallFailure, progress: Progress, *, version: str = ""
) -> InstallResult:
    if failure.no_such_version:
        if not nobody_named(request):
            raise _no_such_version(context, request, failure)
        failure = replace(failure, slug=InstallFault.RECIPE)
    if early := _before_the_first_release(context, request, failure):
        raise early
    progress.message(f"not installed ({failure.slug}): {failure.message.splitlines()[0][:200]}")
    version = version or request.version
    answer = replace(
        _answer(context, request, version, failure.seconds),
        failed=_STAGES[failure.stage],
        fault=str(failure.slug),
        message=failure.message,
        log=failure.log,
    )
    context.store.record_resolution(answer)
    key = failed_key(request.runtime, answer.requested, request.cutoff.date(), failure.slug)
    return InstallResult(answer.id, answer.version, key, None, failure)


def _answer(context: RunContext, request: ProbeRequest, version: str, seconds: float) -> ResolutionRecord:
    return ResolutionRecord(
        id=uuid.uuid4().hex,
        day=request.day,
        origin=request.origin,
        runtime=request.runtime,
        channel=request.channel,
        platform=context.platform,
        requested=request.told(request.version).strip(),
        version=request.told(version),
        cutoff=request.cutoff,
        at=context.now(),
        seconds=seconds,
    )


def _installable(context: RunContext, runtime: Runtime) -> IndexAnswer:
    return installable(install_settings(context.config), runtime, context.platform.accelerator)


def _no_such_version(context: RunContext, request: ProbeRequest, failure: InstallFailure) -> UsageError:
    if RECIPES[request.runtime].archive is not None:
        return UsageError(
            f"there is no such release: {failure.message}",
            hint=f"is the version right, and install.{request.runtime}.archive, if it is configured?",
        )
    if request.beside:
        return UsageError(
            f"there is no {request.told(f'{request.runtime}=={request.version}'.removesuffix('=='))} on the index",
            hint="look at each of the versions",
        )
    releases = _installable(context, request.runtime).releases
    there = [one for one in releases if one.published_at <= request.cutoff]
    if releases and not there:
        return _not_released(request, releases)
    newest = there[-1].version if there else "none"
    return UnknownName(
        f"release of {request.runtime} as of {request.day}",
        request.version,
        [one.version for one in there],
        hint=f"the newest on that day is {newest}",
    )


def _before_the_first_release(
    context: RunContext, request: ProbeRequest, failure: InstallFailure
) -> NotReleased | None:
    """Say it where a day is asked on which there was nothing to install: no fault, and no verdict about anything."""
    if RECIPES[request.runtime].archive is not None or failure.stage is not InstallerStage.RESOLVE:
        return None
    if failure.slug is not InstallFault.UNRESOLVABLE:
        return None
    try:
        releases = _installable(context, request.runtime).releases
    except SettleError:
        return None  # the failure as it is tells more than that the index is silent now
    early = releases and all(one.published_at > request.cutoff for one in releases)
    return _not_released(request, releases) if early else None


def _not_released(request: ProbeRequest, releases: Sequence[Release]) -> NotReleased:
    first = min(releases, key=lambda one: one.published_at)
    return NotReleased(
        f"no release of {request.runtime} existed on {request.day}",
        hint=f"the first is {first.version} of {first.published_at:%Y-%m-%d}",
    )


def listed(context: RunContext, runtime: Runtime) -> IndexAnswer:
    """Ask the index by the runtime's own name: a release's day is there. Raises BenchError when it does not answer."""
    return fetch_releases(runtime, RECIPES[runtime].runtime, install_settings(context.config))
