"""Reads and checks the configuration: one TOML file, whose unset keys come from the environment."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from monitor.config.paths import config_path, effective_home
from monitor.config.settings import Config, SettingsSection
from monitor.config.wording import problem_of
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_RENAMED = {"limits.lanes": "limits.workers"}  # before: now, where the nearest name would be another
_SECRET = frozenset({"daemon.ping_url"})  # even a wrong value is not shown


def load_config(path: Path | None, env: Mapping[str, str] | None = None) -> Config:
    """Read, check and freeze the configuration.

    ``path`` None means the default file, which may be missing; a named file must exist. ``SETTLE_HOME`` replaces
    ``home``. Raises ConfigError that lists every problem.
    """
    env = os.environ if env is None else env
    file = path or config_path(env)
    named = path is not None or bool(env.get("SETTLE_CONFIG"))
    raw = _read(file) if named or file.exists() else {}
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise problems_in(file, [_problem(dict(details)) for details in error.errors()]) from None
    return config.model_copy(update={"home": effective_home(env, config.home)})


def problems_in(file: Path, problems: Sequence[str]) -> ConfigError:
    """Return the error that lists every problem of a configuration."""
    return ConfigError(
        "\n  ".join([f"{file}: {len(problems)} problem{'s' if len(problems) != 1 else ''}", *problems]),
        hint="`settle check-config --reference` lists every key with its default",
    )


_DESCRIBED_DEFAULTS = {
    "home": "the user's data directory",
    "install.base_image": "the official Python image, or one built from Debian packages",
    "limits.workers": "as processors and memory allow",
    "site.folder": "site in the data directory",
}


def reference() -> list[tuple[str, str, str]]:
    """Return (key, default, meaning) of every setting, for the page and for ``check-config --reference``."""
    return list(_fields(Config, ""))


def default_text(key: str) -> str:
    """Say in words what an unset key means."""
    return _DESCRIBED_DEFAULTS.get(key, "from the environment")


def _fields(section: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in section.model_fields.items():
        if isinstance(field.default, SettingsSection):
            rows += _fields(type(field.default), f"{prefix}{name}.")
            continue
        default = _DESCRIBED_DEFAULTS.get(prefix + name, field.default)
        shown = default_text(prefix + name) if default is None else _toml(default)
        rows.append((prefix + name, "required" if field.is_required() else shown, field.description or ""))
        item = next(iter(get_args(field.annotation)), None)
        if isinstance(item, type) and issubclass(item, SettingsSection):
            rows += _fields(item, f"{prefix}{name}[].")
    return rows


def _toml(default: Any) -> str:
    if isinstance(default, tuple):
        return json.dumps([str(item) for item in default])
    return str(default).lower() if isinstance(default, bool) else str(default)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {file}", hint="name an existing file with --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}", hint="it must be a readable UTF-8 text file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}", hint="compare it with deploy/settle.example.toml") from None


def _problem(details: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in details["loc"])
    if details["type"] != "extra_forbidden":
        # a whole table may hold an address with a password, and so may a malformed address
        secret = where in _SECRET or where.endswith(".url") or isinstance(details["input"], dict)
        shown = "" if secret else f" (found {details['input']!r})"
        return f"{where}: {problem_of(where, details)}{shown}"
    if where in _RENAMED:
        return f"{where}: unknown key; it is {_RENAMED[where]!r} now"
    siblings = [key for key, _, _ in reference()]
    sections = sorted({key.rpartition(".")[0] for key in siblings} - {""})
    close = difflib.get_close_matches(where, siblings + sections, n=1, cutoff=0.6)
    return f"{where}: unknown key" + (f"; did you mean {close[0]!r}?" if close else "")
