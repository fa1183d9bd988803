"""The installer: commands of uv with the network that see cache and environments, and no subject."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import uv
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from containers.engine import Command, CommandLimits, Engine, Execution, Mount, Role
from containers.leftovers import remove
from containers.processes import owner_lives, owner_token
from containers.storage import TOOLS, visible_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from packaging.version import Version

    from containers.base import Base
    from containers.settings import InstallSettings

INSIDE = Path(__file__).parent / "inside"
LOG_BYTES = 1 << 20
FOLDERS = ("cache", "envs", "wheels", "bytecode", "artefacts", "work")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class PackageInstaller:
    """``root`` is one mount, shown everywhere under the same path: hard links do not cross mounts."""

    engine: Engine
    base: Base
    root: Path
    settings: InstallSettings
    toolchain: Callable[[], Base] | None = None  # makes the base of a builder, when one is needed; None: the same base
    uv: str = field(init=False)
    program: Mount = field(init=False)
    script: Mount = field(init=False)
    unpacker: Mount = field(init=False)

    def __post_init__(self) -> None:
        isolated = self.engine.isolated
        object.__setattr__(self, "program", tool_mount(uv_program(), self.root, isolated=isolated))
        object.__setattr__(self, "uv", self.program.target)
        for field_name, script in (("script", "bytecode.py"), ("unpacker", "artefact.py")):
            object.__setattr__(self, field_name, tool_mount(INSIDE / script, self.root, isolated=isolated))
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def run(self, *argv: str, wheels: Iterable[str | Path] = (), files: Iterable[Path] = ()) -> Execution:
        """Run with the network; shows ``wheels``, folders of wheels besides those of the settings, and ``files``."""
        tools = self.root / TOOLS
        return self.engine.run(
            Command(
                argv=argv,
                role=Role.INSTALLER,
                image=self.base.image,
                mounts=(
                    *self.reading_mounts(),
                    *(self.script, self.unpacker),
                    *(Mount(file, str(file)) for file in files if file.is_file()),
                    Mount(self.root, str(self.root), writable=True),
                    # our tools stay read-only within the folder that may be written: they run beside sources, too
                    *([Mount(tools, str(tools))] if self.engine.isolated else ()),
                ),
                env=uv_environment(self.settings, cache=self.root / "cache", wheels=wheels),
                limits=CommandLimits(
                    seconds=self.settings.seconds,
                    memory_bytes=self.settings.memory_bytes,
                    cpus=float(os.cpu_count() or 1),
                    log_bytes=LOG_BYTES,
                ),
            )
        )

    def reading_mounts(self) -> tuple[Mount, ...]:
        """Show uv, certificates, wheels, and the interpreter where no image holds it."""
        mounts = (self.program, *reading_mounts(self.settings))
        return mounts if self.engine.isolated else (*mounts, Mount(self.base.prefix, str(self.base.prefix)))

    @contextlib.contextmanager
    def workspace(self, *, mode: int = 0o755) -> Iterator[Path]:
        """Lend a folder for files of a command; a builder, which is another user, may write to it with mode 0777."""
        folder = unique_path(self.root / "work" / "files")
        folder.mkdir()
        folder.chmod(mode)
        try:
            yield folder
        finally:
            remove(folder)

    def sweep(self) -> list[str]:
        """Remove what a crash left half built, half removed or half resolved; running processes keep theirs."""
        removed = []
        for folder in (*(self.root / "envs").glob(".*@*"), *(self.root / "work").iterdir()):
            if not owner_lives(folder.name.rpartition("@")[2]):
                remove(folder)
                removed.append(folder.name)
        return removed


def unique_path(path: Path) -> Path:
    """Return a name that no other thread or process uses; it holds its owner."""
    return path.with_name(f"{path.name}-{next(_numbers)}@{owner_token()}")


def uv_program() -> Path:
    return Path(uv.find_uv_bin())


def tool_mount(file: Path, root: Path, *, isolated: bool) -> Mount:
    """Show one of our tools to an installer; in a container under a path that any user may enter."""
    return Mount(visible_copy(file, root), f"/opt/settle/{file.name}") if isolated else Mount(file, str(file))


def reading_mounts(settings: InstallSettings) -> tuple[Mount, ...]:
    """Show the certificates and the folders of wheels."""
    folders = [Path(link) for link in settings.find_links if "://" not in link]
    mounts = [Mount(folder, str(folder)) for folder in folders if folder.is_dir()]
    if settings.ca_bundle is not None:
        mounts.append(Mount(settings.ca_bundle, str(settings.ca_bundle)))
    return tuple(mounts)


def uv_environment(
    settings: InstallSettings, *, cache: Path | None, wheels: Iterable[str | Path] = ()
) -> dict[str, str]:
    """Return uv's variables; addresses go here, because every user of the host can read arguments."""
    env = {
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
        "UV_DEFAULT_INDEX": settings.index_url,
        "UV_INDEX": " ".join(settings.extra_index_urls),
        "UV_FIND_LINKS": ",".join(map(str, (*settings.find_links, *wheels))),
        "UV_CACHE_DIR": "" if cache is None else str(cache),
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy,
        "http_proxy": settings.http_proxy,
        "https_proxy": settings.https_proxy,
        "NO_PROXY": settings.no_proxy,
        "no_proxy": settings.no_proxy,
    }
    if settings.ca_bundle is not None:
        bundle = str(settings.ca_bundle)
        env |= {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    return {name: value for name, value in env.items() if value}


def cutoff_arguments(cutoff: datetime | None, exempt: Sequence[str]) -> list[str]:
    """Return the moment in full: a bare date would be read in local time."""
    if cutoff is None:
        return []
    if cutoff.tzinfo is None:
        raise ValueError(f"a cutoff needs its time zone: {cutoff}")
    moment = cutoff.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ["--exclude-newer", moment, *(f"--exclude-newer-package={name}=false" for name in dict.fromkeys(exempt))]


def cpu_torches(settings: InstallSettings) -> list[Version]:
    """Return the versions of torch's CPU build in the find-links folders that fit this platform, newest first."""
    supported = supported_tags(settings.python)
    versions = set()
    for link in settings.find_links:
        folder = Path(link)
        for wheel in folder.glob("torch-*.whl") if folder.is_dir() else ():
            try:
                _name, version, _build, tags = parse_wheel_filename(wheel.name)
            except InvalidWheelFilename:
                continue
            if version.local == "cpu" and tags & supported:
                versions.add(version)
    return sorted(versions, reverse=True)


def supported_tags(python: str) -> frozenset[Tag]:
    """Return the tags of wheels that a Python of this version (such as 3.11) takes on this machine."""
    release = tuple(map(int, python.split(".")[:2]))
    # newest first is not needed, only membership; 2.5 to 2.40 covers every policy so far
    kinds = ("linux", "manylinux1", "manylinux2010", "manylinux2014", *(f"manylinux_2_{n}" for n in range(5, 41)))
    platforms = [f"{kind}_{platform.machine()}" for kind in kinds]
    interpreter = f"cp{release[0]}{release[1]}"
    return frozenset((*cpython_tags(release, platforms=platforms), *compatible_tags(release, interpreter, platforms)))


def companions(settings: InstallSettings) -> tuple[str, ...]:
    """Leave out the companions of torch without a CPU build in the folders of wheels.

    The index's builds are made for its CUDA torch: with another torch they install, and then fail when imported, which
    transformers always does (`operator torchvision::nms does not exist`).
    """
    folders = [Path(link) for link in settings.find_links]
    return tuple(
        f"{name} ; sys_platform == 'never'"
        for name in ("torchvision", "torchaudio")
        if not any(folder.is_dir() and any(folder.glob(f"{name}-*+cpu-*.whl")) for folder in folders)
    )
