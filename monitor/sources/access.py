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
    from monitor.sources.hub_http import HubAccess

GIB = 1 << 30
T = TypeVar("T")


def install_settings(config: Config, env: Mapping[str, str] | None = None) -> InstallSettings:
    """Return how packages are fetched: the configuration first, then the environment."""
    defaults = settings_from_environment(os.environ if env is None else env)
    section = config.install
    return replace(
        defaults,
        index_url=_first(section.index_url, defaults.index_url),
        extra_index_urls=_first(section.extra_index_urls, defaults.extra_index_urls),
        find_links=_first(section.find_links, defaults.find_links),
        ca_bundle=_first(section.ca_bundle, defaults.ca_bundle),
        http_proxy=_first(section.http_proxy, defaults.http_proxy),
        https_proxy=_first(section.https_proxy, defaults.https_proxy),
        no_proxy=_first(section.no_proxy, defaults.no_proxy),
        overrides=section.overrides,
        constraints=section.constraints,
        exempt=section.exempt,
        torch=TorchBuild.CPU if section.torch == "cpu" else TorchBuild.CUDA,
        python=section.python,
        base_image=_first(section.base_image, f"docker.io/library/python:{section.python}-slim-bookworm"),
        debian_mirror=_first(section.debian_mirror, defaults.debian_mirror),
        free_bytes=int(config.disk.floor_gib * GIB),
        seconds=config.limits.install_seconds,
        memory_bytes=int(config.limits.memory_gib * GIB),
    )


def _first(configured: T | None, default: T) -> T:
    return default if configured is None else configured


def hub_access(config: Config, env: Mapping[str, str] | None = None) -> HubAccess:
    """Return how the hub is asked: the configuration first, then the variables and files of the hub's tools."""
    from monitor.sources.hub_http import DEFAULT_HUB, HubAccess

    env = os.environ if env is None else env
    section = config.hub
    token = section.token.get_secret_value() if section.token else ""
    return HubAccess(
        endpoint=section.endpoint or env.get("HF_ENDPOINT") or DEFAULT_HUB,
        token=token or env.get("HF_TOKEN", "").strip() or _stored_token(env),
        network=install_settings(config, env),
    )


def _stored_token(env: Mapping[str, str]) -> str:
    """Read the token that `hf auth login` keeps."""
    home = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    try:
        return Path(env.get("HF_TOKEN_PATH") or f"{home}/token").expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return ""
