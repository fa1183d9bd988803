"""What every environment stands on: an image, pulled or built once, or this machine's own Python."""

from __future__ import annotations

import contextlib
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

from containers.engine import Command, Engine, Limits, Role
from containers.errors import BaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

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


@dataclass(frozen=True, slots=True)
class Base:
    """``digest`` is that of what it holds, not of the image: a base built again is the same base."""

    image: str  # "" on the process engine
    digest: str
    python: str  # "3.11"
    interpreter: str

    @property
    def prefix(self) -> Path:
        """Where the interpreter is installed."""
        return Path(self.interpreter).parent.parent


@runtime_checkable
class HasImages(Protocol):
    images: Images


def ensure_base(engine: Engine, *, settings: InstallSettings, home: Path, say: Callable[[str], None]) -> Base:
    """Return the base: the one used before, one that lies here, one pulled, one built from Debian packages.

    Raises ``BaseUnavailable`` with what to do when there is no way to get one.
    """
    if not isinstance(engine, HasImages):
        return _own_python(settings.python)
    memory = home / "base.json"
    base = _remembered(memory, engine.images, settings)
    if base is None:
        base = _made(engine, engine.images, settings, say)
        _remember(memory, base, settings)
    return base


def _remembered(memory: Path, images: Images, settings: InstallSettings) -> Base | None:
    try:
        record = json.loads(memory.read_text(encoding="utf-8"))
        base = Base(**record["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    asked = (record.get("asked"), base.python)
    return base if asked == (settings.base_image, settings.python) and images.find(base.image) else None


def _remember(memory: Path, base: Base, settings: InstallSettings) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"asked": settings.base_image, "base": asdict(base)})
    aside = memory.with_suffix(f".{os.getpid()}")
    aside.write_text(record, encoding="utf-8")
    aside.rename(memory)


def _found_here(engine: Engine, images: Images, settings: InstallSettings) -> Base | None:
    """Take a base that another home has made: only where no image is configured, or the configured one is nowhere."""
    for reference in sorted(images.named(REPOSITORY)):
        base = described(engine, reference)
        if base is not None and base.python == settings.python and reference.endswith(base.digest[:12]):
            return base
    return None


def _made(engine: Engine, images: Images, settings: InstallSettings, say: Callable[[str], None]) -> Base:
    refusal = "no image is configured"
    if reference := settings.base_image:
        if not images.find(reference):
            say(f"pulling the base image {reference}")
            refusal = images.pull(reference)
        if images.find(reference):
            return _named(engine, images, reference, settings)
        refusal = refusal or "the registry gave no reason"
        say(f"{reference} cannot be pulled ({refusal.splitlines()[0][:200]})")
    if "@" not in reference and (found := _found_here(engine, images, settings)):
        if reference:
            say(f"taking {found.image} in its place, which another home has made")
        return found
    say("building the base from Debian packages")
    fresh = f"{REPOSITORY}:building-{os.getpid()}"
    _import_debian(images, fresh, settings, refusal)
    try:
        return _named(engine, images, fresh, settings)
    finally:
        images.untag(fresh)


def _named(engine: Engine, images: Images, reference: str, settings: InstallSettings) -> Base:
    base = described(engine, reference)
    if base is None or base.python != settings.python:
        found = "no Python" if base is None else f"Python {base.python}"
        raise BaseUnavailable(
            f"the base image {reference} has {found}, Python {settings.python} is wanted",
            hint="name an image with that Python, or ask for the image's Python, in the configuration",
        )
    images.tag(reference, repository=REPOSITORY, tag=base.digest[:12])
    return Base(f"{REPOSITORY}:{base.digest[:12]}", base.digest, base.python, base.interpreter)


def described(engine: Engine, reference: str) -> Base | None:
    """Return an image as a base, by what it says of itself; None where it has no Python."""
    execution = engine.run(
        Command(
            argv=("python3", "-I", "-c", DESCRIBE),
            role=Role.PROBE,
            image=reference,
            limits=Limits(seconds=60, memory_bytes=512 << 20),
        )
    )
    if execution.engine_fault:
        raise BaseUnavailable(f"the engine cannot run {reference}: {execution.engine_fault}")
    if not execution.ok:
        return None
    found = _last_record(execution.log)
    if found is None:
        raise BaseUnavailable(
            f"what {reference} says of itself cannot be read: {execution.log[-200:].decode(errors='replace').strip()}"
        )
    interpreter = str(found.pop("interpreter"))
    return Base(reference, _digest(found), _minor(found["python"]), interpreter)


def _last_record(log: bytes) -> dict[str, Any] | None:
    """Find what DESCRIBE printed: output and warnings come as one log, in any order."""
    for line in reversed(log.decode(errors="replace").splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "interpreter" in found:
                return found
    return None


def _import_debian(images: Images, reference: str, settings: InstallSettings, refusal: str) -> None:
    if shutil.which("mmdebstrap") is None:
        raise BaseUnavailable(
            f"there is no base image: {refusal}; and mmdebstrap, which builds one, is not installed",
            hint="`apt-get install mmdebstrap`, name an image that can be pulled in the configuration, "
            "or choose `--engine process`",
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
                hint="is Debian's mirror reachable? another one can be named in the configuration",
            )
        repository, _, tag = reference.partition(":")
        images.load(archive, repository=repository, tag=tag)


def _builder() -> Path:
    """Find the script beside this module (installed) or in its own folder (a checkout)."""
    here = Path(__file__).resolve().parent
    return next(
        path
        for path in (here / "build-base", here.parent / "deploy" / "build-base")
        if path.exists() or path.parent != here
    )


def _own_python(wanted: str) -> Base:
    """Use the Python that runs us, or one of the wanted version beside it."""
    own = os.path.realpath(sys.executable)
    interpreter = own if _minor(platform.python_version()) == wanted else shutil.which(f"python{wanted}")
    if interpreter is None:
        raise BaseUnavailable(
            f"there is no Python {wanted} on this machine",
            hint=f"install python{wanted}, or ask for Python {_minor(platform.python_version())} in the configuration",
        )
    described = subprocess.run([interpreter, "-I", "-c", DESCRIBE], capture_output=True, timeout=60, check=True)
    found = json.loads(described.stdout)
    interpreter = str(found.pop("interpreter"))
    # a process sees this machine and not a set of packages; and its histories never mix with a container's
    return Base("", _digest({**found, "packages": "process"}), _minor(found["python"]), interpreter)


def _digest(found: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
