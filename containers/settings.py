"""How packages are found and installed: indexes, cutoffs, torch's build, certificates, proxies; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from containers.lock import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping


class TorchBuild(StrEnum):
    CPU = "cpu"  # hundreds of megabytes
    CUDA = "cuda"  # the index's build: gigabytes, so only when it is configured, or a recipe allows it


@dataclass(frozen=True, slots=True)
class InstallSettings:
    index_url: str = ""  # "" is the Python index
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()  # folders or pages of wheels
    overrides: tuple[str, ...] = ()  # requirements that replace what packages ask for
    constraints: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()  # packages that the cutoff of a day does not touch
    torch: TorchBuild = TorchBuild.CPU
    ca_bundle: Path | None = None
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    python: str = "3.11"
    # Pulled when a registry answers, by digest when it names one; the image of the first pull of a tag is kept. With ""
    # nothing is pulled and the base is built from Debian packages.
    base_image: str = "docker.io/library/python:3.11-slim-bookworm"
    debian_mirror: str = ""  # "" is Debian's own
    free_bytes: int = 3 << 30  # below this nothing is built: a full disk fails in less clear ways
    seconds: float = 1800.0
    memory_bytes: int = 4 << 30


def without_credentials(settings: InstallSettings) -> InstallSettings:
    """Return the settings for a place where foreign code runs: addresses without user names, passwords and tokens."""

    def bare(address: str) -> str:
        return redacted(address) if "://" in address else re.sub(r"^[^/?#\s]*@", "", address)  # a proxy needs no scheme

    return replace(
        settings,
        index_url=bare(settings.index_url),
        extra_index_urls=tuple(map(bare, settings.extra_index_urls)),
        find_links=tuple(bare(link) if "://" in link else link for link in settings.find_links),
        http_proxy=bare(settings.http_proxy),
        https_proxy=bare(settings.https_proxy),
    )


def settings_from_environment(env: Mapping[str, str]) -> InstallSettings:
    """Read the variables of uv and pip; those of uv win."""

    def first(*names: str) -> str:
        return next((env[name] for name in names if env.get(name)), "")

    def proxy(name: str) -> str:
        return first(name.lower(), name.upper())

    bundle = first("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "UV_CERT", "PIP_CERT")
    return InstallSettings(
        index_url=first("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"),
        extra_index_urls=tuple(first("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL").split()),
        find_links=tuple(first("UV_FIND_LINKS", "PIP_FIND_LINKS").replace(",", " ").split()),
        ca_bundle=Path(bundle) if bundle else None,
        http_proxy=proxy("http_proxy"),
        https_proxy=proxy("https_proxy"),
        no_proxy=proxy("no_proxy"),
    )
