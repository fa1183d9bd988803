"""From requirements to a lock as of a moment, by the resolver of uv."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from containers.failures import InstallFailure, InstallFault, Stage, from_execution
from containers.lock import Lock, MalformedLock, parse_lock, redacted
from containers.settings import TorchBuild
from containers.uv_command import companions, cpu_torches, cutoff_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from containers.installer import Installer

LIVE = timedelta(hours=6)  # from when a question was asked to when the resolver has failed at it, with room
NOT_OURS = (InstallFault.UNRESOLVABLE, InstallFault.NO_WHEEL)


@dataclass(frozen=True, slots=True)
class Resolution:
    lock: Lock
    seconds: float
    log: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the resolver; ``wheels`` are folders of wheels that were built from source."""

    requirements: tuple[str, ...]
    cutoff: datetime | None
    exempt: tuple[str, ...]
    extra: tuple[str, ...] = ()  # of this machine, beside what the runtime needs
    wheels: tuple[str, ...] = ()
    built: tuple[str, ...] = ()  # the versions of those wheels: their packages' own wheels may be of another day
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    torch_backend: str = ""
    afresh: tuple[str, ...] = ()  # packages whose page is fetched anew: a cached one may be older than what is listed


def resolve(installer: Installer, question: Question) -> Resolution | InstallFailure:
    """Pin the packages; when only the constraints of this machine forbid it, the failure is ours."""
    settings = installer.settings
    result: Resolution | InstallFailure | None = None
    for choice in choices(installer, question):
        result = _compile(installer, choice)
        if isinstance(result, Resolution):
            return _without_surprise(result, settings.torch)
        if result.slug not in NOT_OURS or result.no_such_version:
            return result
    assert isinstance(result, InstallFailure)  # noqa: S101 - there is always one choice of torch
    return _ours_or_theirs(installer, question, result)


def choices(installer: Installer, question: Question) -> Iterator[Question]:
    """Ask for torch's CPU build: those in the folders of wheels first, newest first, else its own index."""
    settings = installer.settings
    question = replace(
        question, constraints=settings.constraints, overrides=chosen(settings.overrides, before=question.overrides)
    )
    torches = cpu_torches(settings)
    cuda = settings.torch is TorchBuild.CUDA
    if cuda:  # then a CPU build is only for who asks for its very version
        torches = [version for version in torches if f"torch=={version.public}" in question.overrides]
    for version in torches:
        yield replace(
            question,
            constraints=(*settings.constraints, f"torch=={version}"),
            overrides=chosen(question.overrides, before=companions(settings)),
        )
    if cuda:
        yield question
    elif not torches:
        yield replace(question, torch_backend="cpu")


def chosen(overrides: Sequence[str], *, before: Sequence[str]) -> tuple[str, ...]:
    """Return overrides, and of those given before them the ones for other packages."""
    named = {Requirement(text).name for text in overrides}
    return (*(text for text in before if Requirement(text).name not in named), *overrides)


def _ours_or_theirs(installer: Installer, question: Question, failure: InstallFailure) -> InstallFailure:
    """Ask again without anything of ours; a resolver that then succeeds has shown whose fault it was."""
    bare = _compile(installer, stripped(question, now=datetime.now(UTC)))
    if isinstance(bare, InstallFailure):
        if bare.slug in NOT_OURS:  # what could be built from source is not known to be unresolvable
            return next((one for one in (failure, bare) if one.slug is InstallFault.NO_WHEEL), failure)
        return bare
    why = (
        "the packages fit together, but not with this machine's constraints, overrides, extra packages, build of torch "
        "or the upload times that its index tells: "
    )
    return replace(failure, slug=InstallFault.RECIPE, message=why + failure.message)


def stripped(question: Question, *, now: datetime) -> Question:
    """Leave what any user asks the index; what is asked as of now needs no cutoff, and the index may tell no times."""
    live = question.cutoff is not None and question.cutoff > now - LIVE
    return replace(question, extra=(), cutoff=None if live else question.cutoff)


def _compile(installer: Installer, question: Question) -> Resolution | InstallFailure:
    with installer.workspace() as folder:
        target = folder / "lock.txt"
        execution = installer.run(
            *(installer.uv, "pip", "compile", *written(question, folder), "--output-file", str(target)),
            *("--python", installer.base.interpreter, "--generate-hashes", "--only-binary", ":all:"),
            *("--no-header", "--no-annotate", "--quiet"),
            wheels=question.wheels,
        )
        if not execution.ok:
            return from_execution(execution, Stage.RESOLVE, requirements=question.requirements)
        try:
            lock = parse_lock(target.read_text(encoding="utf-8"), base_digest=installer.base.digest)
        except (OSError, MalformedLock) as error:
            return InstallFailure(
                Stage.RESOLVE,
                InstallFault.RECIPE,
                f"uv wrote no lock: {error}",
                redacted(execution.log.decode(errors="replace")).encode(),
                execution.seconds,
            )
    return Resolution(lock, execution.seconds, redacted(execution.log.decode(errors="replace")).encode())


def written(question: Question, folder: Path) -> tuple[str, ...]:
    """Write what is asked into a folder, and return the arguments of ``uv pip compile`` that ask it."""
    for name, lines in (
        ("requirements", (*question.requirements, *question.extra)),
        ("constraints", (*question.constraints, *question.built)),
        ("overrides", question.overrides),
    ):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return (
        *(str(folder / "requirements.txt"), "--constraints", str(folder / "constraints.txt")),
        *("--overrides", str(folder / "overrides.txt")),
        *(("--torch-backend", question.torch_backend) if question.torch_backend else ()),
        *(f"--refresh-package={name}" for name in question.afresh),
        *cutoff_arguments(question.cutoff, question.exempt),
    )


def _without_surprise(resolution: Resolution, torch: TorchBuild) -> Resolution | InstallFailure:
    """Refuse gigabytes that nobody asked for, before a byte of them is fetched."""
    if torch is TorchBuild.CUDA:
        return resolution
    build = resolution.lock.pin("torch")
    surprises = [str(pin.name) for pin in resolution.lock.packages if pin.name.startswith("nvidia-")]
    if build is not None and not build.version.endswith("+cpu"):
        surprises.append(f"torch {build.version}")
    if not surprises:
        return resolution
    return InstallFailure(
        Stage.RESOLVE,
        InstallFault.RECIPE,
        f"torch's CPU build was asked for, and the resolver chose {', '.join(surprises)}: put a CPU wheel of torch "
        "into a find-links folder, or ask for the CUDA build",
        resolution.log,
        resolution.seconds,
    )
