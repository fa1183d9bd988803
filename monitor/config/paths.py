"""Where files of ours lie, as the environment and the user's folders have it; what a configuration says comes after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Mapping


def config_path(env: Mapping[str, str]) -> Path:
    """Return where the configuration is looked for when the command line names none."""
    if named := env.get("SETTLE_CONFIG"):
        return Path(named)
    return Path(platformdirs.user_config_dir("settle")) / "settle.toml"


def cache_folder() -> Path:
    """Return where files may lie that can be made again."""
    return Path(platformdirs.user_cache_dir("settle"))


def usual_home() -> Path:
    """Return the home where nobody names another."""
    return Path(platformdirs.user_data_dir("settle"))


def home_in_force(env: Mapping[str, str], usual: Path) -> Path:
    """Return the home: ``usual``, or the configuration's, unless the environment names one."""
    home = Path(env["SETTLE_HOME"]) if env.get("SETTLE_HOME") else usual
    return home.expanduser().absolute()
