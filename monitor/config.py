"""The configuration: one TOML file, checked whole and frozen; what it leaves out comes from the environment."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from monitor.errors import ConfigError
from monitor.words import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1 << 30


def _requirement(line: str) -> str:
    try:
        Requirement(line)
    except InvalidRequirement as error:
        raise ValueError(f"no requirement line: {str(error).splitlines()[0]}") from None
    return line


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://", "file://")):
        raise ValueError("no address: it begins with https://, http:// or file://")
    return text


def _folder_or_page(text: str) -> str:
    if "://" not in text and not Path(text).is_dir():
        raise ValueError("there is no such folder")
    return text


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("there is no such file")
    return path


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Memory = Annotated[float, Field(ge=0.1, allow_inf_nan=False)]  # less is not enough to start anything
_Line = Annotated[str, AfterValidator(_requirement)]
_Address = Annotated[str, AfterValidator(_address)]
_Link = Annotated[str, AfterValidator(_folder_or_page)]
_File = Annotated[Path, AfterValidator(_file)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _archive(text: str) -> str:
    if text and "://" not in text and not Path(text).is_absolute():
        raise ValueError("neither an address nor a whole path")
    return text if "://" not in text else _address(text)


_Archive = Annotated[str, AfterValidator(_archive)]


class Archive(_Section):
    """Where a runtime's release archive comes from. ``{version}`` and ``{machine}`` (amd64, arm64) are filled in."""

    version: str = Field("", description="release to take where a command names none")
    archive: _Archive = Field("", description="address or path of the archive; else the publisher's own")
    sums: _Archive = Field("", description="address or path of a list of sha256 for that archive")
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="what the archive of that release must have")


class Install(_Section):
    """Where packages come from. None: what the environment says (UV_*, then PIP_*), else the default."""

    index_url: _Address | None = Field(None, description="package index to resolve and install from")
    extra_index_urls: tuple[_Address, ...] | None = Field(None, description="further indexes")
    find_links: tuple[_Link, ...] | None = Field(None, description="folders or pages with wheels beside the index")
    overrides: tuple[_Line, ...] = Field((), description="requirement lines that replace what packages ask for")
    constraints: tuple[_Line, ...] = Field((), description="requirement lines that only narrow versions")
    extra: tuple[_Line, ...] = Field((), description="requirement lines installed beside every runtime")
    exempt: tuple[str, ...] = Field((), description="packages without a cutoff day, beside the recipe's own")
    torch: Literal["cpu", "default"] = Field("cpu", description='"default": the index\'s own build, gigabytes of CUDA')
    ca_bundle: _File | None = Field(
        None, description="certificate authorities (PEM) that TLS to the index goes through"
    )
    http_proxy: str | None = Field(None, description="proxy for http://")
    https_proxy: str | None = Field(None, description="proxy for https://")
    no_proxy: str | None = Field(None, description="hosts that need no proxy")
    python: str = Field("3.11", pattern=r"^3\.\d+$", description="Python of the environments under test")
    base_image: str | None = Field(None, description="base image, best by digest; else Python's own, or Debian")
    ollama: Archive = Archive()
    debian_mirror: str | None = Field(None, description="where a base image is built from when no registry answers")


class Limits(_Section):
    """What one probe and one installation may take; more is our limit, never the runtime's fault."""

    check_seconds: _Positive = Field(120, description="one subject in one session")
    import_seconds: _Positive = Field(300, description="importing the runtime, once a session")
    install_seconds: _Positive = Field(1800, description="resolving, or building one environment")
    memory_gib: _Memory = Field(8, description="a container")
    subject_memory_gib: _Memory = Field(3, description="one subject inside it")
    cpus: _Positive = Field(2, description="processors a container may use")
    lanes: int | None = Field(None, gt=0, description="containers side by side; else as processors and memory allow")
    processes: int = Field(512, gt=8, description="processes and threads a container may start")
    log_mib: _Positive = Field(4, description="log kept of one container; the middle of more is dropped")
    scratch_gib: _Positive = Field(1, description="temporary files in memory, a container")


class Disk(_Section):
    """How much of the disk is ours."""

    budget_gib: _Positive = Field(30, description="cache, environments, subjects, logs; `settle gc` keeps to it")
    floor_gib: _Positive = Field(3, description="free space below which nothing is built")


def _hub_name(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*", text):
        raise ValueError("no name on a hub")
    return text


_HubName = Annotated[str, AfterValidator(_hub_name)]


class Hub(_Section):
    """Which published models are watched. None: what the environment says (HF_*), else the default."""

    endpoint: _Address | None = Field(None, description="hub that speaks the Hugging Face protocol (HF_ENDPOINT)")
    token: SecretStr | None = Field(None, description="token to read with (HF_TOKEN, or the file HF_TOKEN_PATH names)")
    organisations: tuple[_HubName, ...] = Field(
        (), description="whose new models are watched, if they pass the filters"
    )
    models: tuple[_HubName, ...] = Field((), description="models that are watched whatever the filters say")
    folders: tuple[Path, ...] = Field((), description="checkpoint folders to watch: launches rehearsed before they are")
    pipeline_tags: tuple[str, ...] = Field(
        ("text-generation", "image-text-to-text"), description="filter: only models for one of these; [] takes all"
    )
    minimum_billions: float = Field(0, ge=0, description="filter: parameters; a model that does not tell them passes")
    maximum_billions: float = Field(1_000_000, gt=0, description="filter: parameters")
    since: date = Field(date(2025, 1, 1), description="filter: created on the hub on this day or later")
    poll_minutes: _Positive = Field(60, description="how often organisations, models and folders are asked")
    popularity: bool = Field(True, description="count downloads, likes and derived models once a day, one call a model")


class Config(_Section):
    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("settle")),
        description="database, environments, cache and logs; one filesystem, or files cannot be shared",
    )
    engine: Literal["auto", "docker", "podman", "process"] = Field("auto", description="auto: the first that answers")
    runtimes: tuple[Runtime, ...] = Field(
        (Runtime.TRANSFORMERS,), min_length=1, description="runtimes that `settle run` measures, in this order"
    )
    install: Install = Install()
    limits: Limits = Limits()
    disk: Disk = Disk()
    hub: Hub = Hub()


def config_path(env: Mapping[str, str]) -> Path:
    """Return where the configuration is looked for when the command line names none."""
    if named := env.get("SETTLE_CONFIG"):
        return Path(named)
    return Path(platformdirs.user_config_dir("settle")) / "settle.toml"


def cache_folder() -> Path:
    """Return where files may lie that can be made again."""
    return Path(platformdirs.user_cache_dir("settle"))


def load_config(path: Path | None, env: Mapping[str, str] | None = None) -> Config:
    """Read, check and freeze the configuration.

    ``path`` None means the usual place, where a missing file is the defaults; a named file must exist. ``SETTLE_HOME``
    replaces ``home``. Raises ConfigError that lists every problem.
    """
    env = os.environ if env is None else env
    file = path or config_path(env)
    named = path is not None or "SETTLE_CONFIG" in env
    raw = _read(file) if named or file.exists() else {}
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(dict(found)) for found in error.errors()]
        raise ConfigError(
            "\n  ".join([f"{file}: {len(problems)} problem{'s' if len(problems) != 1 else ''}", *problems]),
            hint="`settle check-config --reference` lists every key with its default",
        ) from None
    home = Path(env["SETTLE_HOME"]) if env.get("SETTLE_HOME") else config.home
    return config.model_copy(update={"home": home.expanduser().absolute()})


def reference() -> list[tuple[str, str, str]]:
    """Return (key, default, meaning) of every setting, for the page and for ``check-config --reference``."""
    return list(_fields(Config, ""))


def _fields(section: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in section.model_fields.items():
        if isinstance(field.default, _Section):
            rows += _fields(type(field.default), f"{prefix}{name}.")
            continue
        default = "the user's data directory" if name == "home" else field.default
        rows.append(
            (prefix + name, "from the environment" if default is None else _spelt(default), field.description or "")
        )
    return rows


def _spelt(default: Any) -> str:
    """Spell a default as TOML does."""
    if isinstance(default, tuple):
        return json.dumps([str(one) for one in default])
    return str(default).lower() if isinstance(default, bool) else str(default)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {file}", hint="name another with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}", hint="it must be a readable UTF-8 text file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}", hint="compare it with deploy/settle.example.toml") from None


def _problem(found: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] != "extra_forbidden":
        return f"{where}: {found['msg'].removeprefix('Value error, ')} (found {found['input']!r})"
    siblings = [key for key, _, _ in reference()]
    sections = sorted({key.rpartition(".")[0] for key in siblings} - {""})
    close = difflib.get_close_matches(where, siblings + sections, n=1, cutoff=0.6)
    return f"{where}: there is no such key" + (f"; did you mean {close[0]!r}?" if close else "")
