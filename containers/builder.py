"""A wheel from source, made in a builder that sees neither cache nor environments; it enters by its hash."""

from __future__ import annotations

import hashlib
import shutil
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from containers.engine import Command, Execution, Limits, Mount, Role
from containers.environment import sync_folder
from containers.failures import InstallFailure, InstallFault, Stage, from_execution
from containers.installer import owned
from containers.lock import redacted
from containers.uv_command import uv_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from containers.installer import Installer

# pip can build the wheel of a requirement; uv cannot, only that of a source tree
BUILD = """
set -eu
uv=$1 python=$2 name=$3 requirement=$4 out=$5
venv=${TMPDIR:-/tmp}/venv
"$uv" venv --quiet --seed --python "$python" "$venv"
"$venv/bin/python" -m pip wheel --no-deps --no-cache-dir --no-binary "$name" --wheel-dir "$out" "$requirement"
"""


def build_wheel(installer: Installer, requirement: str, *, env: Mapping[str, str]) -> Path | InstallFailure:
    """Build the wheel of a package that has only sources; return the file, kept under its sha256.

    ``env`` holds what the package's own build wants (``CMAKE_ARGS``); the compilers are the base image's.
    """
    out = owned(installer.root / "work" / "wheel")
    out.mkdir()
    out.chmod(0o777)  # the builder is another user
    try:
        execution = _run(installer, requirement, out, env)
        if not execution.ok:
            return _failure(execution)
        return _taken_in(out, requirement, installer.root / "wheels", execution)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _run(installer: Installer, requirement: str, out: Path, env: Mapping[str, str]) -> Execution:
    settings, base = installer.settings, installer.base
    mounts = (*installer.reading_mounts(), Mount(out, str(out), writable=True))
    pip = {
        "PIP_INDEX_URL": settings.index_url,
        "PIP_EXTRA_INDEX_URL": " ".join(settings.extra_index_urls),
        "PIP_FIND_LINKS": " ".join(settings.find_links),
        "PIP_CERT": str(settings.ca_bundle or ""),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    name = Requirement(requirement).name
    return installer.engine.run(
        Command(
            argv=("/bin/sh", "-c", BUILD, "build", installer.uv, base.interpreter, name, requirement, str(out)),
            role=Role.BUILDER,
            image=base.image,
            mounts=mounts,
            env={**uv_environment(settings, cache=None), **{key: value for key, value in pip.items() if value}, **env},
            limits=Limits(settings.seconds, settings.memory_bytes, tmpfs_bytes=8 << 30),
        )
    )


def _failure(execution: Execution) -> InstallFailure:
    failure = from_execution(execution, Stage.INSTALL)
    # the builder ran what the package brought: that it did not give a wheel is the package's doing
    return replace(failure, slug=InstallFault.NO_WHEEL) if failure.slug is InstallFault.RECIPE else failure


def _taken_in(out: Path, requirement: str, wheels: Path, execution: Execution) -> Path | InstallFailure:
    """Take the one wheel that was asked for; what a stranger's build leaves behind is not to be trusted."""

    def refused(why: str) -> InstallFailure:
        log = redacted(execution.log.decode(errors="replace")).encode()
        return InstallFailure(Stage.INSTALL, InstallFault.NO_WHEEL, why, log, execution.seconds)

    found = list(out.iterdir())
    if len(found) != 1 or not stat.S_ISREG(found[0].lstat().st_mode):
        return refused(f"the build left {len(found)} files where one wheel was expected")
    wheel = found[0]
    try:
        name, *_rest = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        return refused(str(error))
    if name != canonicalize_name(Requirement(requirement).name):
        return refused(f"the build of {requirement} gave {wheel.name}")
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    target = wheels / digest / wheel.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, target)  # a copy is ours; the file itself belongs to the builder's user
    sync_folder(target.parent)
    return target
