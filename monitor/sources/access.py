"""How packages and models are fetched: settings from the configuration first, then from the environment."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from containers.settings import InstallSettings, TorchBuild, settings_from_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.config.settings import Config
    from monitor.sources.hub_wire import HubAccess

GIB = 1 << 30
T = TypeVar("T")


def install_settings(config: Config, env: Mapping[str, str] | None = None) -> InstallSettings:
    """Return how packages are found: the configuration first, then the environment."""
    found = settings_from_environment(os.environ if env is None else env)
    own = config.install
    return replace(
        found,
        index_url=_first(own.index_url, found.index_url),
        extra_index_urls=_first(own.extra_index_urls, found.extra_index_urls),
        find_links=_first(own.find_links, found.find_links),
        ca_bundle=_first(own.ca_bundle, found.ca_bundle),
        http_proxy=_first(own.http_proxy, found.http_proxy),
        https_proxy=_first(own.https_proxy, found.https_proxy),
        no_proxy=_first(own.no_proxy, found.no_proxy),
        overrides=own.overrides,
        constraints=own.constraints,
        exempt=own.exempt,
        torch=TorchBuild.CPU if own.torch == "cpu" else TorchBuild.CUDA,
        python=own.python,
        base_image=_first(own.base_image, f"docker.io/library/python:{own.python}-slim-bookworm"),
        debian_mirror=_first(own.debian_mirror, found.debian_mirror),
        free_bytes=int(config.disk.floor_gib * GIB),
        seconds=config.limits.install_seconds,
        memory_bytes=int(config.limits.memory_gib * GIB),
    )


def _first(said: T | None, found: T) -> T:
    return found if said is None else said


def hub_access(config: Config, env: Mapping[str, str] | None = None) -> HubAccess:
    """Return how the hub is asked: the configuration first, then what its own tools read; the network as the index."""
    from monitor.sources.hub_wire import DEFAULT_HUB, HubAccess

    env = os.environ if env is None else env
    own = config.hub
    return HubAccess(
        endpoint=own.endpoint or env.get("HF_ENDPOINT") or DEFAULT_HUB,
        token=own.token.get_secret_value() if own.token else env.get("HF_TOKEN", "").strip() or _kept_token(env),
        network=install_settings(config, env),
    )


def _kept_token(env: Mapping[str, str]) -> str:
    """Read the token where `hf auth login` keeps it."""
    home = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    try:
        return Path(env.get("HF_TOKEN_PATH") or f"{home}/token").expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return ""
