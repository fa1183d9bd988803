"""Default paths of the configuration, the cache and the data directory, from the environment and the user's folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Mapping


def config_path(env: Mapping[str, str]) -> Path:
    """Return the default configuration file."""
    if named := env.get("SETTLE_CONFIG"):
        return Path(named)
    return Path(platformdirs.user_config_dir("settle")) / "settle.toml"


def cache_folder() -> Path:
    """Return the folder for files that can be made again."""
    return Path(platformdirs.user_cache_dir("settle"))


def default_home() -> Path:
    """Return the default data directory."""
    return Path(platformdirs.user_data_dir("settle"))


def effective_home(env: Mapping[str, str], configured: Path) -> Path:
    """Return ``configured``, unless SETTLE_HOME replaces it."""
    home = Path(env["SETTLE_HOME"]) if env.get("SETTLE_HOME") else configured
    return home.expanduser().absolute()
