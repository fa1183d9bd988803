"""How uv is called: its arguments, its environment, and its mounts."""

from __future__ import annotations

import platform
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import uv
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from containers.engine import Mount
from containers.storage import visible_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from packaging.tags import Tag
    from packaging.version import Version

    from containers.settings import InstallSettings


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
