"""Installs the release that a question asks for, and records what the installer answered, whatever it was."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.failures import InstallFailure, InstallFault
from containers.failures import Stage as InstallerStage
from containers.lock import parse_lock
from containers.newest import Listed
from containers.recipes import RECIPES, Built, distribution_of, meant_of, overrides_of, recipe_of
from monitor.domain import Origin
from monitor.errors import NotReleased, SettleError, UnknownName, UsageError
from monitor.judge.installs import Stage, failed_key
from monitor.runner.archives import archive_meant, nobody_named
from monitor.runner.context import index_access, install_settings
from monitor.sources.index import fetch_releases, fetch_source
from monitor.sources.offers import newest_offered, offered, releases_offered
from monitor.store import EnvironmentRecord, ResolutionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from containers.environment import Environment
    from containers.recipes import Recipe
    from containers.resolving import Resolution
    from monitor.domain import Channel, Release, Runtime, Subject
    from monitor.progress import Talk
    from monitor.runner.context import Workbench
    from monitor.sources.index import IndexAnswer

_STAGES = {
    InstallerStage.RESOLVE: Stage.RESOLVES,
    InstallerStage.INSTALL: Stage.BUILDS,
    InstallerStage.VERIFY: Stage.CONSISTENT,
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured: which subjects, in which release as of which moment, and what the answer is for."""

    runtime: Runtime
    channel: Channel
    version: str  # "" is the newest that a user gets
    day: date
    cutoff: datetime
    origin: Origin
    subjects: Sequence[Subject]
    anew: bool = False  # probe even where nothing has changed
    seed: int = 0  # of everything random in a probe
    beside: tuple[str, ...] = ()  # other packages pinned by hand, as name==version

    def told(self, version: str) -> str:
        """Return the version as it is recorded: with other packages pinned, it is no answer for the release itself."""
        return " ".join((version, "with", *self.beside)) if self.beside else version


@dataclass(frozen=True, slots=True)
class Place:
    """An answered installation: ``environment`` is None where it failed; ``key`` names it in a fingerprint."""

    resolution_id: str
    version: str
    key: str
    environment: Environment | None
    failure: InstallFailure | None = None


def install(shop: Workbench, question: Question, talk: Talk) -> Place:
    """Resolve, then build what is not there.

    Raises UnknownName for a version that does not exist, and NotReleased for a day before the first release.
    """
    if question.origin is Origin.LIVE or not question.version:
        learn_releases(shop, question.runtime, talk)
    resolution = _resolve(shop, question, talk)
    if isinstance(resolution, InstallFailure):
        return _failed(shop, question, resolution, talk)
    return _build(shop, question, resolution, talk)


def resolve_only(shop: Workbench, question: Question, talk: Talk) -> EnvironmentRecord | Place:
    """Resolve without building, and record that; where it fails, the failed place."""
    resolution = _resolve(shop, question, talk)
    if isinstance(resolution, InstallFailure):
        return _failed(shop, question, resolution, talk)
    record = _environment(shop, question, resolution)
    _record(shop, question, resolution, record)
    return record


def rebuild(shop: Workbench, record: EnvironmentRecord, resolution_id: str, talk: Talk) -> Place | InstallFailure:
    """Build the environment of a resolution that was recorded before, from its lock."""
    own = recipe_of(record.runtime, shop.platform.accelerator)
    lock = parse_lock(record.lock, base_digest=record.base_digest)
    environment = shop.environments.ensure(lock, meant=meant_of(own, record.version))
    if isinstance(environment, InstallFailure):
        return environment
    _say_built(environment, talk)
    return Place(resolution_id, record.version, environment.digest, environment)


def _resolve(shop: Workbench, question: Question, talk: Talk) -> Resolution | InstallFailure:
    asked = f"{question.runtime}=={question.version}" if question.version else f"the newest {question.runtime}"
    talk.say(f"resolving {question.told(asked)} as of {question.cutoff:%Y-%m-%d %H:%M} UTC")
    own = recipe_of(question.runtime, shop.platform.accelerator)
    build_env = own.BUILD_ENVIRONMENT if isinstance(own, Built) else None
    version = question.version or newest_offered(shop, own, question.cutoff)
    artefact = archive_meant(question, shop.config)
    if isinstance(artefact, InstallFailure):
        return artefact
    result = shop.environments.resolve(
        (*own.requirements(version), *question.beside),
        question.cutoff,
        extra=shop.config.install.extra,
        exempt=own.EXEMPT,
        listed=_listed_by(shop, question, own),
        say=talk.say,
        build_env=build_env,
        artefact=artefact,
        overrides=overrides_of(own, version),
    )
    own_name = distribution_of(own)
    if isinstance(result, InstallFailure) and result.slug is InstallFault.NOT_BUILT and own_name in result.sources:
        return replace(result, slug=InstallFault.RUNTIME_NOT_BUILT)
    if own.SOURCES and not isinstance(result, InstallFailure):
        return _with_sources(shop, question, own, result)
    return result


def _with_sources(
    shop: Workbench, question: Question, own: Recipe, resolution: Resolution
) -> Resolution | InstallFailure:
    """Have the sources that are to be read beside the packages; that there are none is no fault of the runtime."""
    access, pinned = index_access(install_settings(shop.config)), resolution.lock.versions
    try:
        wanted = fetch_source(own.SOURCES, pinned, access, cutoff=question.cutoff)
        slug, why = InstallFault.RECIPE, f"nothing of {', '.join(own.SOURCES)} was published as sources by then"
    except SettleError as error:
        wanted, slug, why = None, InstallFault.INDEX, str(error)
    if wanted is None:
        return InstallFailure(InstallerStage.RESOLVE, slug, why, b"", resolution.seconds)
    return shop.environments.beside(resolution, wanted)


def _listed_by(shop: Workbench, question: Question, own: Recipe) -> Listed | None:
    """Return what the index listed on the day, where the newest is asked for: it may have come without a wheel."""
    if question.version or question.beside or distribution_of(own) != own.RUNTIME:
        return None
    there = tuple(
        one.version
        for one in shop.store.releases(question.runtime)
        if one.channel is question.channel and not one.yanked and one.published_at <= question.cutoff
    )
    return Listed(own.RUNTIME, there)


def _build(shop: Workbench, question: Question, resolution: Resolution, talk: Talk) -> Place:
    record = _environment(shop, question, resolution)
    count = len(record.packages)
    talk.say(f"{question.runtime} {record.version}: {count} packages, resolved in {resolution.seconds:.1f} s")
    if shop.environments.find(record.digest) is None:
        talk.say(f"installing {count} packages (the first time they are downloaded, too)")
    own = recipe_of(question.runtime, shop.platform.accelerator)
    environment = shop.environments.ensure(resolution.lock, meant=meant_of(own, record.version))
    if isinstance(environment, InstallFailure):
        return _failed(shop, question, environment, talk, version=record.version)
    _say_built(environment, talk)
    answer = _record(shop, question, resolution, replace(record, build_s=environment.seconds))
    return Place(answer.id, answer.version, environment.digest, environment)


def _say_built(environment: Environment, talk: Talk) -> None:
    if environment.built:
        talk.say(f"installed environment {environment.digest[:12]} in {environment.seconds:.1f} s")
    else:
        talk.say(f"environment {environment.digest[:12]} is there already")


def _environment(shop: Workbench, question: Question, resolution: Resolution) -> EnvironmentRecord:
    pinned = resolution.lock.versions
    return EnvironmentRecord(
        digest=resolution.lock.digest,
        runtime=question.runtime,
        version=pinned.get(distribution_of(recipe_of(question.runtime, shop.platform.accelerator)), question.version),
        platform=shop.platform,
        base_digest=resolution.lock.base_digest,
        lock=resolution.lock.text,
        packages=pinned,
        created_at=shop.now(),
        resolve_s=resolution.seconds,
    )


def _record(shop: Workbench, question: Question, resolution: Resolution, record: EnvironmentRecord) -> ResolutionRecord:
    answer = _answer(shop, question, record.version, resolution.seconds)
    answer = replace(answer, environment_digest=record.digest)
    shop.store.record_resolution(answer, record)
    return answer


def learn_releases(shop: Workbench, runtime: Runtime, talk: Talk) -> None:
    """Record what the index lists; a silent index is said, and shows again when nothing can be resolved."""
    if RECIPES[runtime].ARCHIVE is not None:
        return  # on the index a client may go by its name, and that one's releases are not its own
    try:
        releases = releases_offered(install_settings(shop.config), runtime, shop.platform.accelerator)
    except SettleError as error:
        talk.say(f"releases of {runtime} are not listed: {error}")
        return
    shop.store.record_releases(releases, shop.now())


def _failed(shop: Workbench, question: Question, failure: InstallFailure, talk: Talk, *, version: str = "") -> Place:
    if failure.no_such_version:
        if not nobody_named(question):
            raise _no_such_version(shop, question, failure)
        failure = replace(failure, slug=InstallFault.RECIPE)
    if early := _before_the_first_release(shop, question, failure):
        raise early
    talk.say(f"not installed ({failure.slug}): {failure.message.splitlines()[0][:200]}")
    version = version or question.version
    answer = replace(
        _answer(shop, question, version, failure.seconds),
        failed=_STAGES[failure.stage],
        fault=str(failure.slug),
        message=failure.message,
        log=failure.log,
    )
    shop.store.record_resolution(answer)
    key = failed_key(question.runtime, answer.requested, question.cutoff.date(), failure.slug)
    return Place(answer.id, answer.version, key, None, failure)


def _answer(shop: Workbench, question: Question, version: str, seconds: float) -> ResolutionRecord:
    return ResolutionRecord(
        id=uuid.uuid4().hex,
        day=question.day,
        origin=question.origin,
        runtime=question.runtime,
        channel=question.channel,
        platform=shop.platform,
        requested=question.told(question.version).strip(),
        version=question.told(version),
        cutoff=question.cutoff,
        at=shop.now(),
        seconds=seconds,
    )


def _no_such_version(shop: Workbench, question: Question, failure: InstallFailure) -> UsageError:
    if RECIPES[question.runtime].ARCHIVE is not None:
        return UsageError(
            f"there is no such release: {failure.message}",
            hint=f"is the version right, and install.{question.runtime}.archive, if it is configured?",
        )
    if question.beside:
        return UsageError(
            f"there is no {question.told(f'{question.runtime}=={question.version}'.removesuffix('=='))} on the index",
            hint="look at each of the versions",
        )
    releases = offered(shop, question.runtime).releases
    there = [one for one in releases if one.published_at <= question.cutoff]
    if releases and not there:
        return _not_released(question, releases)
    newest = there[-1].version if there else "none"
    return UnknownName(
        f"release of {question.runtime} as of {question.day}",
        question.version,
        [one.version for one in there],
        hint=f"the newest on that day is {newest}",
    )


def _before_the_first_release(shop: Workbench, question: Question, failure: InstallFailure) -> NotReleased | None:
    """Say it where a day is asked on which there was nothing to install: no fault, and no verdict about anything."""
    if RECIPES[question.runtime].ARCHIVE is not None or failure.stage is not InstallerStage.RESOLVE:
        return None
    if failure.slug is not InstallFault.UNRESOLVABLE:
        return None
    try:
        releases = offered(shop, question.runtime).releases
    except SettleError:
        return None  # the failure as it is tells more than that the index is silent now
    early = releases and all(one.published_at > question.cutoff for one in releases)
    return _not_released(question, releases) if early else None


def _not_released(question: Question, releases: Sequence[Release]) -> NotReleased:
    first = min(releases, key=lambda one: one.published_at)
    return NotReleased(
        f"no release of {question.runtime} existed on {question.day}",
        hint=f"the first is {first.version} of {first.published_at:%Y-%m-%d}",
    )


def listed(shop: Workbench, runtime: Runtime) -> IndexAnswer:
    """Ask the index by the runtime's own name: a release's day is there. Raises BenchError when it does not answer."""
    return fetch_releases(runtime, RECIPES[runtime].RUNTIME, index_access(install_settings(shop.config)))
