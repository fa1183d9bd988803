"""Environments, resolved first and then built only when they are not there."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from containers.artefacts import fetch, fetch_missing, tree_of
from containers.builder import ListedVersions, NewestResolver
from containers.environment import (
    MARKER,
    Environment,
    contradictions,
    differences,
    findings,
    read_environment,
    seal,
    sync_folder,
)
from containers.failures import InstallFailure, InstallFault, InstallStage, explanation, from_execution
from containers.installed import Installed
from containers.installer import PackageInstaller, companions, unique_path
from containers.leftovers import remove
from containers.resolving import Resolution, ResolveRequest
from containers.storage import disk_bytes, shares_blocks, touch, wheel_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from containers.base import Base
    from containers.engine import Engine, Execution
    from containers.lock import Lock, Pin
    from containers.recipe import Wanted
    from containers.settings import InstallSettings

_COPY_BYTES = 1_200_000_000  # of an environment that is a copy, before there is one to measure: torch and transformers
NOT_CONSISTENT = 90  # exit codes of the script that no program in it uses
NO_BYTECODE = 91
# One container does it all: starting one costs as much as hard-linking the packages.
BUILD = f"""
set -eu
uv=$1 python=$2 build=$3 lock=$4 mode=$5 site=$6 script=$7 store=$8; shift 8
"$uv" venv --quiet --relocatable --no-project --python "$python" "$build"
"$uv" pip install --python "$build/bin/python" --require-hashes --no-deps --no-build --link-mode "$mode" -r "$lock"
link=; [ "$mode" = hardlink ] && link=l
while [ $# -gt 0 ]; do mkdir -p "$build/$2"; cp "-a$link" "$1/." "$build/$2/"; shift 2; done
"$python" -I -B "$script" "$build/$site" "$store" "$mode" "$lock" || exit {NO_BYTECODE}
"$uv" pip check --python "$build/bin/python" || exit {NOT_CONSISTENT}
"""


class Environments(Installed):
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
        """``toolchain`` makes the base that sources are built on, where that is another one; called when needed."""
        super().__init__(root)
        self._installer = PackageInstaller(engine, base, self._root, settings, toolchain)
        self._resolver = NewestResolver(self._installer)
        # Where a probe could write into its environment, it must not reach the cache through it: then files share
        # blocks if the file system can do that. Where it cannot, uv's mode "clone" would make hard links.
        if engine.mounts_read_only:
            self._link_mode = "hardlink"
        else:
            self._link_mode = "clone" if shares_blocks(self._root) else "copy"
        self._guard = threading.Lock()
        self._building: dict[str, threading.Lock] = {}

    def resolve(
        self,
        requirements: Sequence[str],
        cutoff: datetime | None,
        *,
        extra: Sequence[str] = (),
        exempt: Sequence[str] = (),
        listed: ListedVersions | None = None,
        progress: Callable[[str], None] = lambda _: None,
        build_env: Mapping[str, str] | None = None,
        overrides: Sequence[str] = (),
        index_torch: bool = False,
    ) -> Resolution | InstallFailure:
        """Pin the packages as of a moment (None: now); nothing is installed.

        ``extra`` are requirements of this machine and not of the runtime: where only they do not fit, the failure is
        ours. ``exempt`` names packages that the cutoff does not touch. A newer version than the resolver's that is
        ``listed`` is built where an installer that may build takes it. Packages that have only sources are built, apart
        from everything here, with ``build_env`` (``CMAKE_ARGS``). ``overrides`` replace requirements of packages, where
        the settings' own do not. ``index_torch`` allows the index's build of torch where no CPU build will do.
        """
        request = ResolveRequest(
            requirements=tuple(requirements),
            cutoff=cutoff,
            extra=tuple(extra),
            exempt=(*self._installer.settings.exempt, *exempt),
            overrides=tuple(overrides),
            index_torch=index_torch,
        )
        return self._resolver.resolve(request, listed, progress=progress, env=build_env or {})

    def with_artefact(self, resolution: Resolution, wanted: Wanted) -> Resolution | InstallFailure:
        """Add an artefact to a resolution; it is fetched now, because its hash is part of the lock."""
        artefact = fetch(self._installer, wanted)
        if isinstance(artefact, InstallFailure):
            return artefact
        return replace(resolution, lock=resolution.lock.with_artefact(artefact))

    @property
    def copied_bytes(self) -> int:
        """Return about how much space the next environment takes: 0 where its files are those of the cache."""
        if self._link_mode != "copy":
            return 0
        sizes = [disk_bytes(environment.path, unique=True) for environment in self._whole()]
        return max(sizes, default=_COPY_BYTES)

    def ensure(self, lock: Lock, *, allowed_conflicts: Sequence[str] = ()) -> Environment | InstallFailure:
        """Return the lock's environment, built now if it is not there; a half-built one is never seen.

        ``allowed_conflicts``, besides the settings' overrides, names requirements that may be contradicted.
        """
        with self._guard:
            building = self._building.setdefault(lock.digest, threading.Lock())
        with building:
            environment = self.find(lock.digest)
            if environment is not None:
                return environment
            for artefact in lock.artefacts:
                if (failure := fetch_missing(self._installer, artefact)) is not None:
                    return failure
            return self._build(lock, allowed_conflicts)

    def find(self, digest: str) -> Environment | None:
        """Return an environment that is there and whole, and note that it was used."""
        environment = read_environment(self._root / "envs" / digest)
        if environment is not None:
            touch(environment.path / MARKER)
        return environment

    def not_installed_anywhere(self, pins: Sequence[Pin]) -> list[Pin]:
        """Return the pins that no environment holds; the cache has the files of the others."""
        texts = [environment.lock_text for environment in self._whole()]
        return [pin for pin in pins if not any(str(pin) in text for text in texts)]

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._root).free

    def sweep(self) -> list[str]:
        """Remove what a crash left half built, half removed or half resolved; return the names."""
        return self._installer.sweep()

    def _build(self, lock: Lock, allowed_conflicts: Sequence[str]) -> Environment | InstallFailure:
        began = time.monotonic()
        settings = self._installer.settings
        free = shutil.disk_usage(self._root).free
        needed = settings.free_bytes + self.copied_bytes
        if free < needed:
            message = f"{free / 1e9:.1f} GB are free for environments, {needed / 1e9:.1f} GB are needed"
            return InstallFailure(InstallStage.INSTALL, InstallFault.DISK, message, b"", 0.0)
        build = unique_path(self._root / "envs" / f".building-{lock.digest}")
        try:
            execution = self._install(lock, build)
            allowed = (*allowed_conflicts, *settings.overrides, *companions(settings))
            failure = verified(execution, lock, build, allowed=allowed)
            if failure is not None:
                return failure
            seconds = time.monotonic() - began
            seal(build, lock, seconds=seconds)
            target = self._root / "envs" / lock.digest
            with contextlib.suppress(OSError):  # another process was faster: its environment is the same
                build.rename(target)
            sync_folder(target.parent)
        except OSError as error:  # after the script there is only writing, and a disk may be full
            return InstallFailure(InstallStage.INSTALL, InstallFault.DISK, str(error), b"", time.monotonic() - began)
        finally:
            remove(build)
        if read_environment(target) is None:
            return InstallFailure(InstallStage.INSTALL, InstallFault.DISK, f"{target.name} is in the way", b"", seconds)
        return Environment(lock.digest, target, built=True, seconds=seconds, log=execution.log)

    def _install(self, lock: Lock, build: Path) -> Execution:
        installer = self._installer
        hashes = {value.removeprefix("sha256:") for pin in lock.packages for value in pin.hashes}
        with installer.workspace() as folder:
            (folder / "lock.txt").write_text(lock.exact_requirements, encoding="utf-8")
            return installer.run(
                *("/bin/sh", "-c", BUILD, "build", installer.uv, installer.base.interpreter, str(build)),
                *(str(folder / "lock.txt"), self._link_mode, f"lib/python{installer.base.python}/site-packages"),
                *(installer.script.target, str(self._root / "bytecode")),
                *(word for each in lock.artefacts for word in (str(tree_of(installer, each)), each.place)),
                wheels=wheel_folders(self._root / "wheels", hashes),
            )


def verified(execution: Execution, lock: Lock, build: Path, *, allowed: Sequence[str]) -> InstallFailure | None:
    """Return the failure of what the script built, or None; a check that fails without a known complaint is ours."""
    if not execution.ok and execution.exit_code != NOT_CONSISTENT:
        return from_execution(execution, InstallStage.INSTALL)
    # without dependencies and by hashes only the lock is installed: any other package is a fault of ours
    if different := differences(build, lock):
        return InstallFailure.of(execution, InstallStage.VERIFY, InstallFault.RECIPE, "; ".join(different))
    if execution.ok:
        return None
    if not findings(execution.text):
        message = f"uv pip check failed: {explanation(execution.text)}"
        return InstallFailure.of(execution, InstallStage.VERIFY, InstallFault.RECIPE, message)
    complaints = contradictions(execution.text, allowed=allowed)
    if not complaints:
        return None
    return InstallFailure.of(execution, InstallStage.VERIFY, InstallFault.INCONSISTENT, "; ".join(complaints))
