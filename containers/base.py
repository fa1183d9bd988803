"""The base of environments: an image, pulled, built or extended with packages once, or this machine's Python."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from containers.engine import Command, CommandLimits, Engine, Execution, Role
from containers.errors import BaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from containers.images import Images
    from containers.settings import InstallSettings

REPOSITORY = "settle-base"
BUILD_SECONDS = 1800
DESCRIBE = """
import json, os, platform, shutil, subprocess, sys
packages = []
if shutil.which("dpkg-query"):
    packages = subprocess.run(["dpkg-query", "-W"], capture_output=True, text=True, check=True).stdout.splitlines()
print(json.dumps({
    "packages": sorted(packages),
    "python": platform.python_version(),
    "libc": platform.libc_ver(),
    "machine": platform.machine(),
    "interpreter": os.path.realpath(sys.executable),
}))
"""
LIST = ("/bin/sh", "-c", "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
INSTALL = """
set -eu
mirror=$1; shift
if [ -n "$mirror" ]; then
    . /etc/os-release
    echo "deb $mirror $VERSION_CODENAME main" > /etc/apt/sources.list
    rm -f /etc/apt/sources.list.d/*
fi
apt-get -q update
apt-get -q install --yes --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""


@dataclass(frozen=True, slots=True)
class Base:
    """``digest`` is that of the contents, not of the image: a base built again is the same base."""

    image: str  # "" on the process engine
    digest: str
    python: str  # "3.11"
    interpreter: str

    @property
    def prefix(self) -> Path:
        """Return the folder that the interpreter is installed in."""
        return Path(self.interpreter).parent.parent


@runtime_checkable
class HasImages(Protocol):
    images: Images


@runtime_checkable
class ExtendingEngine(HasImages, Protocol):
    """An engine that can make one image from another."""

    def extend(
        self, image: str, argv: Sequence[str], *, env: Mapping[str, str], limits: CommandLimits, reference: str
    ) -> Execution:
        """Run as root with the network and a root that is kept; name the result where that ended well."""
        ...


def ensure_base(engine: Engine, *, settings: InstallSettings, home: Path, progress: Callable[[str], None]) -> Base:
    """Return the base: the one used before, one that is here, one pulled, one built from Debian packages.

    Raises ``BaseUnavailable`` with a hint when there is no way to get one.
    """
    if not isinstance(engine, HasImages):
        return _this_python(settings.python)
    record = home / "base.json"
    base = _read(record, engine.images, settings)
    if base is None:
        base = _obtain(engine, engine.images, settings, progress)
        _write(record, base, settings)
    return base


def _read(file: Path, images: Images, settings: InstallSettings) -> Base | None:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        base = Base(**record["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = (record.get("asked"), base.python) == (settings.base_image, settings.python)
    return base if same and images.find(base.image) else None


def _write(file: Path, base: Base, settings: InstallSettings) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps({"asked": settings.base_image, "base": asdict(base)}), encoding="utf-8")
    aside.rename(file)


def _obtain(engine: Engine, images: Images, settings: InstallSettings, progress: Callable[[str], None]) -> Base:
    refusal = "no image is configured"
    if reference := settings.base_image:
        if not images.find(reference):
            progress(f"pulling the base image {reference}")
            refusal = images.pull(reference)
        if images.find(reference):
            return _tagged(engine, images, reference, settings)
        refusal = refusal or "the registry gave no reason"
        progress(f"{reference} cannot be pulled ({refusal.splitlines()[0][:200]})")
    if "@" not in reference and (base := _made_by_another_home(engine, images, settings)):
        if reference:
            progress(f"using {base.image} instead, which was built for another data directory")
        return base
    progress("building the base from Debian packages")
    fresh = f"{REPOSITORY}:building-{os.getpid()}"
    _import_debian(images, fresh, settings, refusal)
    try:
        return _tagged(engine, images, fresh, settings)
    finally:
        images.untag(fresh)


def _made_by_another_home(engine: Engine, images: Images, settings: InstallSettings) -> Base | None:
    for reference in sorted(images.named(REPOSITORY)):
        base = described(engine, reference)
        if base is not None and base.python == settings.python and reference.endswith(base.digest[:12]):
            return base
    return None


def _tagged(engine: Engine, images: Images, reference: str, settings: InstallSettings) -> Base:
    base = described(engine, reference)
    if base is None or base.python != settings.python:
        python = "no Python" if base is None else f"Python {base.python}"
        raise BaseUnavailable(
            f"the base image {reference} has {python}, but the configuration asks for Python {settings.python}",
            hint="configure an image with that Python, or the image's Python",
        )
    images.tag(reference, repository=REPOSITORY, tag=base.digest[:12])
    return Base(f"{REPOSITORY}:{base.digest[:12]}", base.digest, base.python, base.interpreter)


def described(engine: Engine, reference: str) -> Base | None:
    """Return an image as a base, by its own description; None where it has no Python."""
    execution = run_in_image(engine, reference, "python3", "-I", "-c", DESCRIBE)
    if execution.engine_fault:
        raise BaseUnavailable(f"the engine cannot run {reference}: {execution.engine_fault}")
    if not execution.ok:
        return None
    description = execution.record("interpreter")
    if not description:
        raise BaseUnavailable(f"the description of {reference} cannot be read: {execution.text[-200:].strip()}")
    return _base(reference, description)


def run_in_image(engine: Engine, image: str, *argv: str) -> Execution:
    """Run a short command that looks into an image."""
    return engine.run(Command(argv, Role.PROBE, CommandLimits(seconds=60, memory_bytes=512 << 20), image=image))


def _base(image: str, description: dict[str, Any]) -> Base:
    contents = {name: value for name, value in description.items() if name != "interpreter"}
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
    return Base(image, digest, _minor(description["python"]), str(description["interpreter"]))


def _import_debian(images: Images, reference: str, settings: InstallSettings, refusal: str) -> None:
    if shutil.which("mmdebstrap") is None:
        raise BaseUnavailable(
            f"there is no base image: {refusal}; and mmdebstrap, which builds one, is not installed",
            hint="`apt-get install mmdebstrap`, configure an image that can be pulled, or choose `--engine process`",
        )
    with tempfile.TemporaryDirectory(prefix="settle-base-") as folder:
        archive = Path(folder) / "base.tar"
        mirror = [settings.debian_mirror] if settings.debian_mirror else []
        try:
            built = subprocess.run(
                [str(_builder()), str(archive), *mirror], capture_output=True, timeout=BUILD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BaseUnavailable(f"building the base took longer than {BUILD_SECONDS} s") from error
        if built.returncode != 0:
            raise BaseUnavailable(
                f"mmdebstrap failed: {built.stderr.decode(errors='replace')[-1500:].strip()}",
                hint="check that Debian's mirror is reachable, or configure another mirror",
            )
        repository, _, tag = reference.partition(":")
        images.load(archive, repository=repository, tag=tag)


def _builder() -> Path:
    """Return the script: in this package (installed) or in its folder of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "build-base"
    return installed if installed.exists() else package.parent / "deploy" / "build-base"


def _this_python(version: str) -> Base:
    """Return the Python that runs us, or another one of this machine in the requested version."""
    ours = _minor(platform.python_version())
    interpreter = os.path.realpath(sys.executable) if ours == version else shutil.which(f"python{version}")
    if interpreter is None:
        raise BaseUnavailable(
            f"there is no Python {version} on this machine",
            hint=f"install python{version}, or configure Python {ours}",
        )
    output = subprocess.run([interpreter, "-I", "-c", DESCRIBE], capture_output=True, timeout=60, check=True).stdout
    # a process sees this machine and not a set of packages; and its histories never mix with a container's
    return _base("", {**json.loads(output), "packages": "process"})


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def base_with_packages(
    engine: Engine, base: Base, packages: Iterable[str], *, settings: InstallSettings, progress: Callable[[str], None]
) -> Base:
    """Return the base with these packages: itself where it has them, else another one made from it.

    Its digest is that of its contents, so that other environments stay as they are. Raises ``BaseUnavailable`` with the
    packages that are missing.
    """
    wanted = sorted(set(packages))
    if not wanted:
        return base
    if not isinstance(engine, ExtendingEngine):
        _check_this_machine(wanted)
        return base
    suffix = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:12]
    reference = f"{REPOSITORY}:{base.digest[:12]}-{suffix}"
    if not engine.images.find(reference):
        listed = run_in_image(engine, base.image, *LIST)
        missing = missing_packages(wanted, listed.text) if listed.ok else wanted
        if not missing:
            return base
        progress(f"adding {', '.join(missing)} to the base")
        _extend(engine, base, missing, reference, settings)
    extended = described(engine, reference)
    if extended is None:
        raise BaseUnavailable(f"{reference} has no Python", hint="remove that image, and settle makes it again")
    return extended


def _extend(
    engine: ExtendingEngine, base: Base, missing: Sequence[str], reference: str, settings: InstallSettings
) -> None:
    proxies = {"http_proxy": settings.http_proxy, "https_proxy": settings.https_proxy, "no_proxy": settings.no_proxy}
    execution = engine.extend(
        base.image,
        ("/bin/sh", "-c", INSTALL, "install", settings.debian_mirror, *missing),
        env={"DEBIAN_FRONTEND": "noninteractive", **{name: value for name, value in proxies.items() if value}},
        limits=CommandLimits(settings.seconds, settings.memory_bytes),
        reference=reference,
    )
    if not execution.ok:
        reason = execution.engine_fault or execution.text[-600:].strip()
        raise BaseUnavailable(
            f"{', '.join(missing)} cannot be added to {base.image}: {reason}",
            hint="check that Debian's mirror is reachable, or configure another mirror or an image with these packages",
        )


def _check_this_machine(wanted: Sequence[str]) -> None:
    """Refuse a Debian machine without the packages; of another system it is not known."""
    if shutil.which("dpkg-query") is None:
        return
    listed = subprocess.run(LIST, capture_output=True, timeout=60, check=False)
    if missing := missing_packages(wanted, listed.stdout.decode(errors="replace")):
        raise BaseUnavailable(
            f"this machine has no {', '.join(missing)}",
            hint=f"`apt-get install {' '.join(missing)}`, or use Docker or Podman, where settle adds them to the base",
        )


def missing_packages(wanted: Iterable[str], listed: str) -> list[str]:
    """Return the packages that a list of dpkg's does not name as installed; pure."""
    lines = (line.partition(" ") for line in listed.splitlines())
    installed = {name.partition(":")[0] for name, _, state in lines if state.strip() == "installed"}
    return [name for name in wanted if name not in installed]
