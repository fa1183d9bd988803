"""Resolutions that need wheels built from source, made in a builder that sees neither cache nor environments."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from containers.engine import Command, CommandLimits, Execution, Mount, Role
from containers.environment import sync_folder
from containers.failures import InstallFailure, InstallFault, InstallStage, from_build
from containers.installer import PackageInstaller, cutoff_arguments, uv_environment
from containers.leftovers import Bounds, excess
from containers.lock import Lock, MalformedLock, Pin, parse_lock, redacted
from containers.resolving import Resolution, ResolveRequest, compile_arguments, resolve, torch_choices
from containers.settings import without_credentials
from containers.storage import note_wheel, noted_wheel
from containers.watched import run_watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


# Reading the requirements of sources runs their code, too, so that even the choice of a version is the builder's.
CHOOSE = """
set -eu
uv=$1 python=$2 out=$3; shift 3
UV_CACHE_DIR=${TMPDIR:-/tmp}/uv; export UV_CACHE_DIR
"$uv" pip compile --quiet --no-header --no-annotate --generate-hashes --python "$python" -o "$out/chosen.txt" "$@"
"""
# uv has no command that builds the wheel of a requirement; but it keeps the wheels that it builds and installs.
BUILD = """
set -eu
uv=$1 python=$2 out=$3; shift 3
UV_CACHE_DIR=${TMPDIR:-/tmp}/uv; export UV_CACHE_DIR
"$uv" pip install --quiet --no-deps --python "$python" --target "${TMPDIR:-/tmp}/target" "$@"
find "$UV_CACHE_DIR" -name '*.whl' -exec cp '{}' "$out" ';'
"""
WANTING = (InstallFault.INDEX, InstallFault.NETWORK)  # how it shows that an address wants credentials
_SCRATCH_BYTES = 8 << 30
_OUT = Bounds(_SCRATCH_BYTES)  # what a build may leave in the folder that it hands its wheel over in
_CHOSEN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ListedVersions:
    """The versions of one package that an index lists as of the requested moment."""

    name: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewestResolver:
    """Resolves to what a user gets, wheel or not: a resolver that accepts wheels only skips versions without one."""

    installer: PackageInstaller
    _not_installable: set[tuple[str, frozenset[str]]] = field(default_factory=set)  # remembered: each costs a build

    def resolve(
        self,
        request: ResolveRequest,
        listed: ListedVersions | None,
        *,
        progress: Callable[[str], None],
        env: Mapping[str, str],
    ) -> Resolution | InstallFailure:
        """Resolve; where a newer version of the package is listed, resolve with the one an installer may build."""
        result = resolve_building(self.installer, request, progress=progress, env=env)
        if listed is None or not self._skipped(result, listed):
            return result
        request = replace(request, refresh=(listed.name,))  # most often it came out since the page was last fetched
        result = resolve_building(self.installer, request, progress=progress, env=env)
        newer = self._skipped(result, listed)
        if isinstance(result, InstallFailure) or not newer:
            return result
        progress(f"{listed.name} {max(newer, key=Version)} is listed, but the resolver skipped it: trying to build it")
        version = _version_with_builds(self.installer, request, result.lock, listed.name, env=env)
        if isinstance(version, InstallFailure):
            return version
        if not newer_versions(result.lock, listed.name, [str(version)]):
            self._not_installable.add((listed.name, newer))
            return result
        request = replace(request, built=(f"{listed.name}=={version}",))
        built = resolve_building(self.installer, request, progress=progress, env=env)
        if isinstance(built, InstallFailure) and built.slug is InstallFault.UNRESOLVABLE:
            return replace(built, slug=InstallFault.NO_WHEEL)  # the resolver chose it a moment ago
        return built

    def _skipped(self, result: Resolution | InstallFailure, listed: ListedVersions) -> frozenset[str]:
        if isinstance(result, InstallFailure):
            return frozenset()
        newer = newer_versions(result.lock, listed.name, listed.versions)
        return frozenset() if (listed.name, newer) in self._not_installable else newer


def newer_versions(lock: Lock, name: str, versions: Iterable[str]) -> frozenset[str]:
    """Return the versions of a package that are newer than that of a lock; none where the lock has none."""
    pin = lock.pin(name)
    if pin is None or not pin.version:
        return frozenset()
    return frozenset(version for version in versions if Version(version) > Version(pin.version))


def resolve_building(
    installer: PackageInstaller, request: ResolveRequest, *, progress: Callable[[str], None], env: Mapping[str, str]
) -> Resolution | InstallFailure:
    """Resolve; each package that has only sources is built, once, until the resolver needs no more of them."""
    wheels: dict[str, Path] = {}
    while True:
        result = resolve(installer, _with_wheels(request, wheels.values()))
        if isinstance(result, Resolution):
            return result
        name = next((source for source in result.sources if source not in wheels), None)
        if name is None:
            return result
        progress(f"{name} has no wheel: building it from source (at most {installer.settings.seconds / 60:.0f} min)")
        wheel = _build_wheel(_Builder(installer, _with_wheels(request, wheels.values()), env), name)
        if isinstance(wheel, InstallFailure):
            # without it the packages fit together: only this machine needs it
            ours = wheel.slug is InstallFault.NOT_BUILT and result.slug is not InstallFault.NO_WHEEL
            return replace(wheel, sources=(name,), slug=InstallFault.RECIPE if ours else wheel.slug)
        progress(f"built {wheel.name} from source")
        wheels[name] = wheel


def _version_with_builds(
    installer: PackageInstaller, request: ResolveRequest, lock: Lock, name: str, *, env: Mapping[str, str]
) -> Version | InstallFailure:
    """Return the version that an installer chooses which may build this package, and no other one of the lock."""
    built = {f"sha256:{folder.name}" for folder in (installer.root / "wheels").iterdir()}
    others = [pin.name for pin in lock.packages if pin.name != canonicalize_name(name) and not built & {*pin.hashes}]
    chosen = _choose(_Builder(installer, request, env), name, [f"--only-binary={other}" for other in others])
    if isinstance(chosen, InstallFailure):
        return replace(chosen, sources=(name,))
    try:
        return Version(chosen.version)
    except InvalidVersion:  # code of the package may have written it
        reason = f"with sources allowed, the resolver chooses version {chosen.version[:100]!r} of {name}"
        return InstallFailure(InstallStage.RESOLVE, InstallFault.NO_WHEEL, redacted(reason), b"", 0.0, sources=(name,))


def _with_wheels(request: ResolveRequest, wheels: Iterable[Path]) -> ResolveRequest:
    """Offer built wheels to the resolver: they have no upload time, and their versions were chosen before."""
    folders = {str(wheel.parent): parse_wheel_filename(wheel.name)[:2] for wheel in wheels}
    return replace(
        request,
        exempt=(*request.exempt, *(name for name, _ in folders.values())),
        wheels=tuple(folders),
        built=(*request.built, *(f"{name}=={version}" for name, version in folders.values())),
    )


@dataclass(frozen=True, slots=True)
class _Builder:
    """Everything that a build may see: no cache, no environment, no subject, and no credentials."""

    installer: PackageInstaller
    request: ResolveRequest
    env: Mapping[str, str]

    def run(self, script: str, out: Path, *arguments: str, reading: Iterable[Path] = ()) -> Execution:
        installer, settings = self.installer, without_credentials(self.installer.settings)
        base = installer.toolchain() if installer.toolchain else installer.base
        shown = [Mount(path, str(path)) for path in (*map(Path, self.request.wheels), *reading)]
        command = Command(
            argv=("/bin/sh", "-c", script, "build", installer.uv, installer.base.interpreter, str(out), *arguments),
            role=Role.BUILDER,
            image=base.image,
            mounts=(*installer.reading_mounts(), *shown, Mount(out, str(out), writable=True)),
            env={**uv_environment(settings, cache=None, wheels=self.request.wheels), **self.env},
            limits=CommandLimits(settings.seconds, settings.memory_bytes, tmpfs_bytes=_SCRATCH_BYTES),
        )
        execution, over = run_watched(installer.engine, command, lambda: excess(out, _OUT), seconds=0.5)
        note = f"\nerror: the build left {over} beside its wheel, and was ended\n"
        return replace(execution, log=execution.log + note.encode()) if over else execution

    def failure(self, execution: Execution) -> InstallFailure:
        """Classify a build that failed; where the index or the proxy wants credentials, the fault is ours."""
        failure = from_build(execution)
        if failure.slug not in WANTING or without_credentials(self.installer.settings) == self.installer.settings:
            return failure
        reason = "a builder gets no credentials of the index or the proxy, because code of packages runs in it"
        return replace(failure, message=f"{failure.message} ({reason})")

    def key(self, pin: Pin) -> str:
        """Name what a wheel depends on. Not the day: no two builds are equal, and a lock names their hash."""
        inputs = json.dumps([self.installer.base.digest, str(pin), sorted(self.env.items())])
        return hashlib.sha256(inputs.encode()).hexdigest()


def _build_wheel(builder: _Builder, name: str) -> Path | InstallFailure:
    """Build the wheel in the version that a user's installer would choose; return the file, stored under its sha256.

    A wheel that was built on this base before is not built again: with another hash it would be another environment.
    """
    pin = _choose(builder, name)
    if isinstance(pin, InstallFailure):
        return pin
    wheels = builder.installer.root / "wheels"
    note = wheels / f"{builder.key(pin)}.json"
    if (earlier := noted_wheel(note)) is not None:
        return earlier
    cutoff = cutoff_arguments(builder.request.cutoff, builder.request.exempt)
    with builder.installer.workspace(mode=0o777) as out:
        execution = builder.run(BUILD, out, "--no-binary", name, f"{name}=={pin.version}", *cutoff)
        wheel = _store_wheel(out, name, wheels, execution) if execution.ok else builder.failure(execution)
    if not isinstance(wheel, InstallFailure):
        note_wheel(note, wheel)
    return wheel


def _choose(builder: _Builder, name: str, binary: Sequence[str] = ()) -> Pin | InstallFailure:
    """Return the version that an installer which may build would choose, with the hashes of its files."""
    installer = builder.installer
    for choice in torch_choices(installer, builder.request):
        with installer.workspace(mode=0o777) as out, installer.workspace() as files:
            execution = builder.run(CHOOSE, out, *compile_arguments(choice, files), *binary, reading=[files])
            text = _read(out / "chosen.txt")
        failure = None if execution.ok else builder.failure(execution)
        if failure is None or failure.slug is not InstallFault.UNRESOLVABLE:
            break
    if failure is not None:
        # packages that do not fit together with this machine's torch and constraints prove no fault of theirs
        unfit = failure.slug is InstallFault.UNRESOLVABLE
        return replace(failure, stage=InstallStage.RESOLVE, slug=InstallFault.NO_WHEEL) if unfit else failure
    try:
        pin = parse_lock(text, base_digest=installer.base.digest).pin(name)
    except MalformedLock as error:
        return InstallFailure.of(execution, InstallStage.RESOLVE, InstallFault.NO_WHEEL, str(error))
    if pin is None or not pin.version:
        reason = f"with sources allowed, the resolver chooses no version of {name}"
        return InstallFailure.of(execution, InstallStage.RESOLVE, InstallFault.NO_WHEEL, reason)
    return pin


def _read(path: Path) -> str:
    """Return the text that a builder left; code of packages ran there, so it may be anything."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as stream:
            return stream.read(_CHOSEN_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _store_wheel(out: Path, name: str, wheels: Path, execution: Execution) -> Path | InstallFailure:
    """Store the one wheel of that name; the other files that a build leaves behind are not trusted."""
    files = [file for file in islice(out.iterdir(), _OUT.entries) if stat.S_ISREG(file.lstat().st_mode)]
    matches = [file for file in files if _package_of(file) == canonicalize_name(name)]
    if len(matches) != 1:
        reason = f"the build gave {len(matches)} wheels of {name}, 1 was expected"
        return InstallFailure.of(execution, InstallStage.INSTALL, InstallFault.NO_WHEEL, reason)
    wheel = matches[0]
    try:
        with wheel.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        reason = f"the build gave a wheel of {name} that cannot be read: {error.strerror}"
        return InstallFailure.of(execution, InstallStage.INSTALL, InstallFault.NO_WHEEL, reason)
    target = wheels / digest / wheel.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, target)  # the copy belongs to us, the file itself to the builder's user
    sync_folder(target.parent)
    return target


def _package_of(file: Path) -> str:
    try:
        return str(parse_wheel_filename(file.name)[0])
    except InvalidWheelFilename:
        return ""
