"""Environments, resolved first and then built only when they are not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.artefacts import again, fetch, tree_of
from containers.environment import (
    MARKER,
    Environment,
    contradictions,
    differences,
    findings,
    read_environment,
    seal,
    sync_folder,
    touch,
)
from containers.failures import MESSAGE_CHARS, InstallFailure, InstallFault, Stage, explanation, from_execution
from containers.installer import FOLDERS, Installer, owned
from containers.kept import Kept, measure
from containers.lock import redacted
from containers.newest import Newest
from containers.resolving import Question, Resolution
from containers.uv_command import companions
from containers.wheels import remove_wheel, wheels_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from containers.base import Base
    from containers.engine import Engine, Execution
    from containers.lock import Lock
    from containers.newest import Listed
    from containers.recipe import Wanted
    from containers.settings import InstallSettings

NOT_CONSISTENT = 90  # exit codes of the script, which no program in it uses
NO_BYTECODE = 91
# One container does it all: starting one costs as much as hard-linking the packages.
BUILD = f"""
set -eu
uv=$1 python=$2 build=$3 lock=$4 mode=$5 site=$6 script=$7 store=$8; shift 8
"$uv" venv --quiet --relocatable --no-project --python "$python" "$build"
"$uv" pip install --python "$build/bin/python" --require-hashes --no-deps --no-build --link-mode "$mode" -r "$lock"
link=; [ "$mode" = hardlink ] && link=l
while [ $# -gt 0 ]; do mkdir -p "$build/$2"; cp "-a$link" "$1/." "$build/$2/"; shift 2; done
"$python" -I -B "$script" "$build/$site" "$store" "$mode" || exit {NO_BYTECODE}
"$uv" pip check --python "$build/bin/python" || exit {NOT_CONSISTENT}
"""


@dataclass(frozen=True, slots=True)
class EnvironmentUsage:
    digest: str
    own_bytes: int  # what removing it frees
    last_used: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk, files with several names counted once; all in the order of their last use."""

    total_bytes: int
    cache_bytes: int
    environments: tuple[EnvironmentUsage, ...]
    artefacts: tuple[Kept, ...] = ()  # unpacked
    wheels: tuple[Kept, ...] = ()  # built from source


class Environments:
    """All environments on one base, below one root; safe to use from several threads."""

    def __init__(
        self,
        engine: Engine,
        base: Base,
        root: Path,
        settings: InstallSettings,
        *,
        toolchain: Callable[[], Base] | None = None,
    ) -> None:
        """``toolchain`` makes the base that sources are built on, where that is another; it may be asked never."""
        self._installer = Installer(engine, base, root.resolve(), settings, toolchain)
        self._newest = Newest(self._installer)
        self._root = root.resolve()
        # on the process engine a probe could write into its environment, and must not reach the cache through it
        self._link_mode = "hardlink" if engine.isolated else "copy"
        self._guard = threading.Lock()
        self._building: dict[str, threading.Lock] = {}

    def resolve(
        self,
        requirements: Sequence[str],
        cutoff: datetime | None,
        *,
        extra: Sequence[str] = (),
        exempt: Sequence[str] = (),
        listed: Listed | None = None,
        say: Callable[[str], None] = lambda _: None,
        build_env: Mapping[str, str] | None = None,
        artefact: Wanted | None = None,
        overrides: Sequence[str] = (),
    ) -> Resolution | InstallFailure:
        """Find the packages as of a moment (None: now) and pin them; nothing is installed.

        ``extra`` is wanted by this machine and not by the runtime: where only that does not fit, the failure is ours.
        ``exempt`` names packages that the cutoff does not touch. A newer version than the one chosen that is ``listed``
        is built where an installer that may build takes it. What has only sources is built, apart from everything
        here, and ``say`` is told; ``build_env`` holds what such a build wants (``CMAKE_ARGS``). An ``artefact`` is
        fetched and unpacked now, for its hash is part of the lock. ``overrides`` replace what packages ask for, where
        the settings' own do not.
        """
        question = Question(
            requirements=tuple(requirements),
            cutoff=cutoff,
            extra=tuple(extra),
            exempt=(*self._installer.settings.exempt, *exempt),
            overrides=tuple(overrides),
        )
        result = self._newest.resolve(question, listed, say=say, env=build_env or {})
        if artefact is None or isinstance(result, InstallFailure):
            return result
        return self.beside(result, artefact)

    def beside(self, resolution: Resolution, wanted: Wanted) -> Resolution | InstallFailure:
        """Add an artefact that is chosen by what was resolved; it is fetched now, for its hash is part of the lock."""
        found = fetch(self._installer, wanted)
        return found if isinstance(found, InstallFailure) else replace(resolution, lock=resolution.lock.beside(found))

    def ensure(self, lock: Lock, *, meant: Sequence[str] = ()) -> Environment | InstallFailure:
        """Return the lock's environment, built now if it is not there; a half-built one is never seen.

        ``meant``, beside the settings' overrides, names requirements whose contradictions are on purpose.
        """
        with self._guard:
            building = self._building.setdefault(lock.digest, threading.Lock())
        with building:
            found = self.find(lock.digest)
            if found is not None:
                return found
            for artefact in lock.artefacts:
                if (failure := again(self._installer, artefact)) is not None:
                    return failure
            return self._build(lock, meant)

    def find(self, digest: str) -> Environment | None:
        """Return an environment that is there and whole, and note that it was used."""
        found = read_environment(self._root / "envs" / digest)
        if found is not None:
            touch(found.path)
        return found

    def remove(self, digest: str) -> None:
        """Remove an environment: first out of sight, then from the disk."""
        aside = owned(self._root / "envs" / f".removing-{digest}")
        with contextlib.suppress(FileNotFoundError):
            (self._root / "envs" / digest).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def remove_artefact(self, digest: str) -> None:
        """Remove an unpacked archive; it is fetched again where a lock names it."""
        shutil.rmtree(self._root / "artefacts" / digest, ignore_errors=True)

    def remove_wheel(self, digest: str) -> None:
        """Remove a wheel that was built from source; another build of it will be another wheel."""
        remove_wheel(self._root / "wheels", digest)

    def usage(self) -> Usage:
        """Measure everything; it looks at every file, so it takes a while where there are many."""
        whole = [found for path in (self._root / "envs").iterdir() if (found := read_environment(path)) is not None]
        environments = [
            EnvironmentUsage(found.digest, _bytes(found.path, alone=True), (found.path / MARKER).stat().st_mtime)
            for found in whole
        ]
        locks = {found.digest: found.lock_text for found in whole}
        return Usage(
            total_bytes=_bytes(*(self._root / name for name in FOLDERS)),
            cache_bytes=_bytes(self._root / "cache"),
            environments=tuple(sorted(environments, key=lambda one: one.last_used)),
            artefacts=measure(self._root / "artefacts", locks),
            wheels=measure(self._root / "wheels", locks),
        )

    def sweep(self) -> list[str]:
        """Remove what a crash left half built, half removed or half resolved; return the names."""
        return self._installer.sweep()

    def _build(self, lock: Lock, meant: Sequence[str]) -> Environment | InstallFailure:
        began = time.monotonic()
        wanted = self._installer.settings.free_bytes
        free = shutil.disk_usage(self._root).free
        if free < wanted:
            room = f"{free / 1e9:.1f} GB are free where environments are built, {wanted / 1e9:.1f} GB are wanted"
            return InstallFailure(Stage.INSTALL, InstallFault.DISK, room, b"", 0.0)
        build = owned(self._root / "envs" / f".building-{lock.digest}")
        try:
            execution = self._install(lock, build)
            settings = self._installer.settings
            overridden = (*meant, *settings.overrides, *companions(settings))
            failure = verified(execution, lock, build, overridden=overridden)
            if failure is not None:
                return failure
            seconds = time.monotonic() - began
            seal(build, lock, seconds=seconds)
            target = self._root / "envs" / lock.digest
            with contextlib.suppress(OSError):  # another process was faster: its environment is the same
                build.rename(target)
            sync_folder(target.parent)
        except OSError as error:  # what is left to do after the script is writing, and a disk may be full
            return InstallFailure(Stage.INSTALL, InstallFault.DISK, str(error), b"", time.monotonic() - began)
        finally:
            shutil.rmtree(build, ignore_errors=True)
        if read_environment(target) is None:
            return InstallFailure(Stage.INSTALL, InstallFault.DISK, f"{target.name} is in the way", b"", seconds)
        return Environment(lock.digest, target, built=True, seconds=seconds, log=execution.log)

    def _install(self, lock: Lock, build: Path) -> Execution:
        installer = self._installer
        hashes = {value.removeprefix("sha256:") for pin in lock.packages for value in pin.hashes}
        own_wheels = wheels_named(self._root / "wheels", hashes)
        with installer.workspace() as folder:
            (folder / "lock.txt").write_text(lock.requirements, encoding="utf-8")
            return installer.run(
                *("/bin/sh", "-c", BUILD, "build", installer.uv, installer.base.interpreter, str(build)),
                *(str(folder / "lock.txt"), self._link_mode, f"lib/python{installer.base.python}/site-packages"),
                *(installer.script.target, str(self._root / "bytecode")),
                *(word for one in lock.artefacts for word in (str(tree_of(installer, one)), one.place)),
                wheels=own_wheels,
            )


def verified(execution: Execution, lock: Lock, build: Path, *, overridden: Sequence[str]) -> InstallFailure | None:
    """Say what is wrong with what the script built; a check that failed without a word we know is ours."""
    if not execution.ok and execution.exit_code != NOT_CONSISTENT:
        return from_execution(execution, Stage.INSTALL)
    # without dependencies and by hashes only the lock is installed: anything else is our doing
    if different := differences(build, lock):
        return _refused(InstallFault.RECIPE, "; ".join(different), execution)
    if execution.ok:
        return None
    text = execution.log.decode(errors="replace")
    if not findings(text):
        return _refused(InstallFault.RECIPE, f"uv pip check failed: {explanation(text)}", execution)
    said = contradictions(text, overridden=overridden)
    return _refused(InstallFault.INCONSISTENT, "; ".join(said), execution) if said else None


def _refused(slug: InstallFault, why: str, execution: Execution) -> InstallFailure:
    log = redacted(execution.log.decode(errors="replace")).encode()
    return InstallFailure(Stage.VERIFY, slug, redacted(why)[:MESSAGE_CHARS], log, execution.seconds)


def _bytes(*folders: Path, alone: bool = False) -> int:
    """Sum what files take on the disk; ``alone`` leaves out those that have another name elsewhere."""
    seen: set[int] = set()  # all of it lies on one file system
    total = 0
    waiting = list(map(str, folders))
    while waiting:
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if status.st_ino not in seen and not (alone and status.st_nlink > 1):
                    total += status.st_blocks * 512
                    seen.add(status.st_ino)
    return total
