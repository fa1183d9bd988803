"""A wheel from source, made in a builder that sees neither cache nor environments; it enters by its hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from containers.engine import Command, Execution, Limits, Mount, Role
from containers.environment import sync_folder
from containers.failures import InstallFailure, InstallFault, Stage, from_build
from containers.installer import owned
from containers.lock import MalformedLock, Pin, parse_lock, redacted
from containers.resolving import Question, Resolution, choices, resolve, written
from containers.uv_command import cutoff_arguments, uv_environment
from containers.wheels import kept_wheel, note_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from containers.installer import Installer
    from containers.lock import Lock

# Reading what sources require runs their code, too, so that even the choice of a version is the builder's.
CHOOSE = """
set -eu
uv=$1 python=$2 out=$3; shift 3
UV_CACHE_DIR=${TMPDIR:-/tmp}/uv; export UV_CACHE_DIR
"$uv" pip compile --quiet --no-header --no-annotate --generate-hashes --python "$python" -o "$out/chosen.txt" "$@"
"""
# uv has no command that builds the wheel of a requirement; but it installs from none that it has not built and kept.
BUILD = """
set -eu
uv=$1 python=$2 out=$3; shift 3
UV_CACHE_DIR=${TMPDIR:-/tmp}/uv; export UV_CACHE_DIR
"$uv" pip install --quiet --no-deps --python "$python" --target "${TMPDIR:-/tmp}/target" "$@"
find "$UV_CACHE_DIR" -name '*.whl' -exec cp '{}' "$out" ';'
"""
_SCRATCH_BYTES = 8 << 30
_CHOSEN_BYTES = 1 << 20


def resolve_building(
    installer: Installer, question: Question, *, say: Callable[[str], None], env: Mapping[str, str]
) -> Resolution | InstallFailure:
    """Resolve; each package that has only sources is built, once, until the resolver asks for no more of them."""
    wheels: dict[str, Path] = {}
    while True:
        result = resolve(installer, _with(question, wheels.values()))
        if isinstance(result, Resolution):
            return result
        name = next((one for one in result.sources if one not in wheels), None)
        if name is None:
            return result
        say(f"{name} has no wheel: building it from source (at most {installer.settings.seconds / 60:.0f} min)")
        wheel = _build_wheel(_Builder(installer, _with(question, wheels.values()), env), name)
        if isinstance(wheel, InstallFailure):
            # without it the packages fit together: only this machine wants it
            ours = wheel.slug is InstallFault.NOT_BUILT and result.slug is not InstallFault.NO_WHEEL
            return replace(wheel, sources=(name,), slug=InstallFault.RECIPE if ours else wheel.slug)
        say(f"from source: {wheel.name}")
        wheels[name] = wheel


def taken_when_it_may_build(
    installer: Installer, question: Question, lock: Lock, name: str, *, env: Mapping[str, str]
) -> Version | InstallFailure:
    """Return the version that an installer chooses which may build this package, and no other one of the lock."""
    built = {f"sha256:{folder.name}" for folder in (installer.root / "wheels").iterdir()}
    others = [pin.name for pin in lock.packages if pin.name != canonicalize_name(name) and not built & {*pin.hashes}]
    chosen = _chosen(_Builder(installer, question, env), name, [f"--only-binary={other}" for other in others])
    if isinstance(chosen, InstallFailure):
        return replace(chosen, sources=(name,))
    try:
        return Version(chosen.version)
    except InvalidVersion:  # a stranger's code may have written it
        why = f"with sources allowed, {chosen.version[:100]!r} is the version chosen of {name}"
        return InstallFailure(Stage.RESOLVE, InstallFault.NO_WHEEL, redacted(why), b"", 0.0, sources=(name,))


def _with(question: Question, wheels: Iterable[Path]) -> Question:
    """Offer wheels of ours to the resolver: they have no upload time, and their versions are what was asked for."""
    folders = {str(wheel.parent): parse_wheel_filename(wheel.name)[:2] for wheel in wheels}
    return replace(
        question,
        exempt=(*question.exempt, *(name for name, _ in folders.values())),
        wheels=tuple(folders),
        built=(*question.built, *(f"{name}=={version}" for name, version in folders.values())),
    )


@dataclass(frozen=True, slots=True)
class _Builder:
    """Everything that a build may see: no cache, no environment, no subject."""

    installer: Installer
    question: Question
    env: Mapping[str, str]

    def run(self, script: str, out: Path, *arguments: str, reading: Iterable[Path] = ()) -> Execution:
        installer, settings = self.installer, self.installer.settings
        base = installer.toolchain() if installer.toolchain else installer.base
        shown = [Mount(path, str(path)) for path in (*map(Path, self.question.wheels), *reading)]
        return installer.engine.run(
            Command(
                argv=("/bin/sh", "-c", script, "build", installer.uv, installer.base.interpreter, str(out), *arguments),
                role=Role.BUILDER,
                image=base.image,
                mounts=(*installer.reading_mounts(), *shown, Mount(out, str(out), writable=True)),
                env={**uv_environment(settings, cache=None, wheels=self.question.wheels), **self.env},
                limits=Limits(settings.seconds, settings.memory_bytes, tmpfs_bytes=_SCRATCH_BYTES),
            )
        )

    def key(self, pin: Pin) -> str:
        """Name what a wheel depends on. Not the day: no two builds are equal, and a lock names their hash."""
        told = json.dumps([self.installer.base.digest, str(pin), sorted(self.env.items())])
        return hashlib.sha256(told.encode()).hexdigest()

    @contextlib.contextmanager
    def out(self) -> Iterator[Path]:
        """Lend a folder that the builder, another user, may write to."""
        folder = owned(self.installer.root / "work" / "wheel")
        folder.mkdir()
        folder.chmod(0o777)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _build_wheel(builder: _Builder, name: str) -> Path | InstallFailure:
    """Build the wheel in the version that a user's installer would choose; return the file, kept under its sha256.

    One that was built on this base before is not built again: with another hash it would be another environment.
    """
    chosen = _chosen(builder, name)
    if isinstance(chosen, InstallFailure):
        return chosen
    wheels = builder.installer.root / "wheels"
    note = wheels / f"{builder.key(chosen)}.json"
    if (kept := kept_wheel(note)) is not None:
        return kept
    cutoff = cutoff_arguments(builder.question.cutoff, builder.question.exempt)
    with builder.out() as out:
        execution = builder.run(BUILD, out, "--no-binary", name, f"{name}=={chosen.version}", *cutoff)
        wheel = _taken_in(out, name, wheels, execution) if execution.ok else from_build(execution)
    if not isinstance(wheel, InstallFailure):
        note_wheel(note, wheel)
    return wheel


def _chosen(builder: _Builder, name: str, binary: Sequence[str] = ()) -> Pin | InstallFailure:
    """Return the version that an installer which may build would choose, with the hashes of its files."""
    installer = builder.installer
    for choice in choices(installer, builder.question):
        with builder.out() as out, installer.workspace() as asked:
            execution = builder.run(CHOOSE, out, *written(choice, asked), *binary, reading=[asked])
            text = _read(out / "chosen.txt")
        failure = None if execution.ok else from_build(execution)
        if failure is None or failure.slug is not InstallFault.UNRESOLVABLE:
            break
    if failure is not None:
        # that they do not fit together with this machine's torch and constraints proves nothing against anybody
        unfit = failure.slug is InstallFault.UNRESOLVABLE
        return replace(failure, stage=Stage.RESOLVE, slug=InstallFault.NO_WHEEL) if unfit else failure
    try:
        pin = parse_lock(text, base_digest=installer.base.digest).pin(name)
    except MalformedLock as error:
        return _refused(Stage.RESOLVE, str(error), execution)
    if pin is None or not pin.version:
        return _refused(Stage.RESOLVE, f"with sources allowed, no version of {name} is chosen", execution)
    return pin


def _read(path: Path) -> str:
    """Return the text that a builder left; a stranger's code ran there, so it may be anything."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as stream:
            return stream.read(_CHOSEN_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _taken_in(out: Path, name: str, wheels: Path, execution: Execution) -> Path | InstallFailure:
    """Take the one wheel that was asked for; what a stranger's build leaves behind is not to be trusted."""
    found = [
        file for file in out.iterdir() if stat.S_ISREG(file.lstat().st_mode) and _names(file) == canonicalize_name(name)
    ]
    if len(found) != 1:
        why = f"the build gave {len(found)} wheels of {name} where one was expected"
        return _refused(Stage.INSTALL, why, execution)
    wheel = found[0]
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    target = wheels / digest / wheel.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, target)  # a copy is ours; the file itself belongs to the builder's user
    sync_folder(target.parent)
    return target


def _names(file: Path) -> str:
    try:
        return str(parse_wheel_filename(file.name)[0])
    except InvalidWheelFilename:
        return ""


def _refused(stage: Stage, why: str, execution: Execution) -> InstallFailure:
    log = redacted(execution.log.decode(errors="replace")).encode()
    return InstallFailure(stage, InstallFault.NO_WHEEL, why, log, execution.seconds)
