"""From requirements to a lock as of a moment, by the resolver of uv."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from containers.failures import InstallFailure, InstallFault, InstallStage, from_execution, redacted_log
from containers.installer import PackageInstaller, companions, cpu_torches, cutoff_arguments
from containers.lock import Lock, MalformedLock, parse_lock
from containers.settings import TorchBuild

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


LIVE = timedelta(hours=6)  # from the request to the end of the resolver's last attempt, with room
NOT_OURS = (InstallFault.UNRESOLVABLE, InstallFault.NO_WHEEL)


@dataclass(frozen=True, slots=True)
class Resolution:
    lock: Lock
    seconds: float
    log: bytes


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """The requirements to resolve; ``wheels`` are folders of wheels that were built from source."""

    requirements: tuple[str, ...]
    cutoff: datetime | None
    exempt: tuple[str, ...]
    extra: tuple[str, ...] = ()  # of this machine, besides what the runtime needs
    wheels: tuple[str, ...] = ()
    built: tuple[str, ...] = ()  # the versions of those wheels: the index's wheels of them may be of another day
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    torch_backend: str = ""
    index_torch: bool = False  # the index's build of torch serves, where no CPU build does
    refresh: tuple[str, ...] = ()  # packages whose page is fetched again: the cached page may be older than the list


def resolve(installer: PackageInstaller, request: ResolveRequest) -> Resolution | InstallFailure:
    """Pin the packages; when only the constraints of this machine forbid it, the failure is ours."""
    result: Resolution | InstallFailure | None = None
    for choice in torch_choices(installer, request):
        result = _compile(installer, choice)
        if isinstance(result, Resolution):
            return result if request.index_torch else without_gpu_packages(result, installer.settings.torch)
        if result.slug not in NOT_OURS or result.no_such_version:
            return result
    assert isinstance(result, InstallFailure)  # noqa: S101 - there is always one choice of torch
    return _ours_or_the_runtimes(installer, request, result)


def torch_choices(installer: PackageInstaller, request: ResolveRequest) -> Iterator[ResolveRequest]:
    """Yield the request with each CPU build of torch in the folders of wheels, newest first, else with its index.

    Where the runtime names another torch than those, or needs a torchvision that they lack, the index's builds of both
    take their place: a torchvision of another build than its torch installs, and fails when it is imported.
    """
    settings = installer.settings
    overrides = merged_overrides(settings.overrides, defaults=request.overrides)
    request = replace(request, constraints=settings.constraints, overrides=overrides)
    in_folders, left_out = cpu_torches(settings), companions(settings)
    cuda, torches = settings.torch is TorchBuild.CUDA, in_folders
    if cuda or request.index_torch:  # then a CPU build is only for a request that names its version
        torches = [version for version in torches if f"torch=={version.public}" in overrides]
    if request.index_torch and _names(request.requirements) & _names(left_out):
        torches = []
    for version in torches:
        yield replace(
            request,
            constraints=(*settings.constraints, f"torch=={version}"),
            overrides=merged_overrides(overrides, defaults=left_out),
        )
    if cuda or (request.index_torch and in_folders):
        # a resolver prefers 2.13.0+cpu to 2.13.0
        others = (f"torch!={version}" for version in in_folders if request.index_torch)
        yield replace(request, constraints=(*settings.constraints, *others))
    elif not in_folders:
        yield replace(request, torch_backend="cpu")


def _names(requirements: Iterable[str]) -> set[str]:
    return {Requirement(text).name for text in requirements}


def merged_overrides(overrides: Sequence[str], *, defaults: Sequence[str]) -> tuple[str, ...]:
    """Return overrides, after those defaults that are for other packages."""
    names = {Requirement(text).name for text in overrides}
    return (*(text for text in defaults if Requirement(text).name not in names), *overrides)


def _ours_or_the_runtimes(
    installer: PackageInstaller, request: ResolveRequest, failure: InstallFailure
) -> InstallFailure:
    """Resolve again without anything of this machine: if that succeeds, the failure is ours."""
    bare = _compile(installer, without_machine(request, now=datetime.now(UTC)))
    if isinstance(bare, InstallFailure):
        if bare.slug in NOT_OURS:  # a package that could be built from source is not proven unresolvable
            return next((each for each in (failure, bare) if each.slug is InstallFault.NO_WHEEL), failure)
        return bare
    reason = (
        "the packages fit together, but not with this machine's constraints, overrides, extra packages, build of torch "
        "or the upload times of its index: "
    )
    return replace(failure, slug=InstallFault.RECIPE, message=reason + failure.message)


def without_machine(request: ResolveRequest, *, now: datetime) -> ResolveRequest:
    """Return the request that any user makes; one as of now needs no cutoff, and the index may have no upload times."""
    live = request.cutoff is not None and request.cutoff > now - LIVE
    return replace(request, extra=(), cutoff=None if live else request.cutoff)


def _compile(installer: PackageInstaller, request: ResolveRequest) -> Resolution | InstallFailure:
    with installer.workspace() as folder:
        target = folder / "lock.txt"
        execution = installer.run(
            *(installer.uv, "pip", "compile", *compile_arguments(request, folder), "--output-file", str(target)),
            *("--python", installer.base.interpreter, "--generate-hashes", "--only-binary", ":all:"),
            *("--no-header", "--no-annotate", "--quiet"),
            wheels=request.wheels,
        )
        if not execution.ok:
            return from_execution(execution, InstallStage.RESOLVE, requirements=request.requirements)
        try:
            lock = parse_lock(target.read_text(encoding="utf-8"), base_digest=installer.base.digest)
        except (OSError, MalformedLock) as error:
            return InstallFailure.of(execution, InstallStage.RESOLVE, InstallFault.RECIPE, f"uv wrote no lock: {error}")
    return Resolution(lock, execution.seconds, redacted_log(execution))


def compile_arguments(request: ResolveRequest, folder: Path) -> tuple[str, ...]:
    """Write the requirements into a folder, and return the arguments of ``uv pip compile`` that read them."""
    for name, lines in (
        ("requirements", (*request.requirements, *request.extra)),
        ("constraints", (*request.constraints, *request.built)),
        ("overrides", request.overrides),
    ):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return (
        *(str(folder / "requirements.txt"), "--constraints", str(folder / "constraints.txt")),
        *("--overrides", str(folder / "overrides.txt")),
        *(("--torch-backend", request.torch_backend) if request.torch_backend else ()),
        *(f"--refresh-package={name}" for name in request.refresh),
        *cutoff_arguments(request.cutoff, request.exempt),
    )


def without_gpu_packages(resolution: Resolution, torch: TorchBuild) -> Resolution | InstallFailure:
    """Refuse the gigabytes of a CUDA build that the settings do not ask for, before a byte of them is fetched."""
    if torch is TorchBuild.CUDA:
        return resolution
    pin = resolution.lock.pin("torch")
    packages = [package.name for package in resolution.lock.packages if package.name.startswith("nvidia-")]
    if pin is not None and not pin.version.endswith("+cpu"):
        packages.append(f"torch {pin.version}")
    if not packages:
        return resolution
    return InstallFailure(
        InstallStage.RESOLVE,
        InstallFault.RECIPE,
        f"the settings ask for torch's CPU build, but the resolver chose {', '.join(packages)}: put a CPU wheel of "
        "torch into a find-links folder, or configure the CUDA build",
        resolution.log,
        resolution.seconds,
    )
