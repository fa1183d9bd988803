"""What can be configured: frozen sections whose fields say what they mean, how they are checked and their defaults."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, create_model, model_validator

from monitor.config.paths import default_home
from monitor.domain import Runtime, Severity

_LAST_PORT = 65535


def _requirement(line: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement  # most configurations have no such line

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


def _page(text: str) -> str:
    if text and not text.startswith(("https://", "http://")):
        raise ValueError("no address: it begins with https:// or http://")
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
_Page = Annotated[str, AfterValidator(_page)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _archive(text: str) -> str:
    if text and "://" not in text and not Path(text).is_absolute():
        raise ValueError("neither an address nor a whole path")
    return text if "://" not in text else _address(text)


_Archive = Annotated[str, AfterValidator(_archive)]
_Watched = Annotated[str, AfterValidator(lambda text: text and _address(text))]


class Archive(Section):
    """Where a runtime's release archive comes from. ``{version}`` and ``{machine}`` (amd64, arm64) are filled in."""

    version: str = Field("", description="release to take where a command names none")
    archive: _Archive = Field("", description="address or path of the archive; else the publisher's own")
    sums: _Archive = Field("", description="address or path of a list of sha256 for that archive")
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="what the archive of that release must have")


class Install(Section):
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


class Limits(Section):
    """What one probe and one installation may take; more is our limit, never the runtime's fault."""

    check_seconds: _Positive = Field(120, description="one subject in one session")
    import_seconds: _Positive = Field(300, description="importing the runtime, once a session")
    install_seconds: _Positive = Field(1800, description="resolving, or building one environment")
    memory_gib: _Memory = Field(8, description="a container")
    subject_memory_gib: _Memory = Field(3, description="one subject inside it")
    cpus: _Positive = Field(2, description="processors a container may use")
    workers: int | None = Field(None, gt=0, description="containers side by side; else as processors and memory allow")
    processes: int = Field(512, gt=8, description="processes and threads a container may start")
    log_mib: _Positive = Field(4, description="log kept of one container; the middle of more is dropped")
    scratch_gib: _Positive = Field(1, description="temporary files in memory, a container")


class Disk(Section):
    """How much of the disk is ours."""

    budget_gib: _Positive = Field(
        30, description="cache, environments, subjects, logs; `settle disk-budget` keeps to it"
    )
    floor_gib: _Positive = Field(3, description="free space below which nothing is built")


class _Repositories(Section):
    """Where tags and branches of the measured runtimes are listed from; an empty address is not asked."""

    def address_of(self, project: str) -> str:
        return str(getattr(self, _key_of(project)))


def _key_of(project: str) -> str:
    return project.replace(".", "_").replace("-", "_")


if TYPE_CHECKING:
    Repositories = _Repositories
else:  # a runtime names its repositories in its record, and nowhere else
    Repositories = create_model(
        "Repositories",
        __base__=_Repositories,
        **{
            _key_of(project): (_Watched, Field(address, description='git; "" is not asked'))
            for runtime in Runtime
            for project, address in runtime.record.repositories.items()
        },
    )


class Releases(Section):
    """Where new releases are looked for, beside the package index."""

    poll_minutes: _Positive = Field(60, description="how often each source is asked")
    repositories: Repositories = Repositories()
    nightlies: _Watched = Field("https://wheels.vllm.ai", description='vLLM\'s wheels by commit; "" is not asked')
    registry: _Watched = Field("https://hub.docker.com", description='lists tags of the image; "" is not asked')
    image: str = Field(
        "ollama/ollama", pattern=r"^[a-z0-9._-]+/[a-z0-9._-]+$", description="whose tags are Ollama's releases"
    )


def _listening(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text and not (host and port.isdecimal() and int(port) <= _LAST_PORT):
        raise ValueError('neither host:port nor "" for none')
    return text


def _pinged(url: SecretStr) -> SecretStr:
    if url.get_secret_value() and not url.get_secret_value().startswith(("https://", "http://")):
        raise ValueError("no address: it begins with https:// or http://")
    return url


class Daemon(Section):
    """How `settle run` repeats itself, and how it can be watched."""

    tick_seconds: _Positive = Field(60, description="between two looks at what is due")
    slice_minutes: _Positive = Field(20, description="probing at a time, before everything is weighed again")
    hours_a_day: _Positive = Field(24, le=24, description="probing within a day, all runtimes together")
    listen: Annotated[str, AfterValidator(_listening)] = Field(
        "127.0.0.1:9750", description='where /healthz and /metrics are served; "" for nowhere'
    )
    ping_url: Annotated[SecretStr, AfterValidator(_pinged)] = Field(
        SecretStr(""), description="asked for after each tick that went well: a dead man's switch"
    )
    logs: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, else JSON lines")


class Target(Section):
    """Somebody who is told. ``${NAME}`` in the address is taken from the environment; empty filters let all through."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,40}$", description="what it is called in lists and filters")
    url: SecretStr = Field(description="address as apprise knows it: mailto://, slack://, json://, ...")
    runtimes: tuple[Runtime, ...] = Field((), description="only news of these runtimes")
    organisations: tuple[str, ...] = Field((), description="only news of models of these organisations")
    severities: tuple[Severity, ...] = Field((), description="only these: info, warning, failure")
    digest: bool = Field(True, description="whether the daily digest goes there, whatever its severity")


class Alerts(Section):
    """Who is told of what, and how often. Without a target nobody is, and nothing is kept for later."""

    targets: tuple[Target, ...] = Field((), description="whom to tell: a table `[[alerts.targets]]` each")
    digest_hour: int = Field(7, ge=0, le=23, description="UTC hour of the daily digest")
    flap_days: int = Field(7, ge=1, le=90, description="a third flip within so many days is flapping, told once")
    link_base: _Page = Field("", description="address of the published site, for links to its pages, and its feed's")

    @model_validator(mode="after")
    def _names_are_names(self) -> Alerts:
        names = [one.name for one in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("two targets have the same name")
        return self


def _hub_name(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*", text):
        raise ValueError("no name on a hub")
    return text


_HubName = Annotated[str, AfterValidator(_hub_name)]


class Hub(Section):
    """Which published models are watched. None: what the environment says (HF_*), else the default."""

    endpoint: _Address | None = Field(None, description="hub that speaks the Hugging Face protocol (HF_ENDPOINT)")
    token: SecretStr | None = Field(None, description="token to read with (HF_TOKEN, or the file HF_TOKEN_PATH names)")
    organisations: tuple[_HubName, ...] = Field(
        (), description="whose new models are watched, if they pass the filters"
    )
    models: tuple[_HubName, ...] = Field((), description="models that are watched whatever the filters say")
    full: tuple[_HubName, ...] = Field(
        (), description="models that are also probed with their full weights, fetched once a revision"
    )
    folders: tuple[Path, ...] = Field((), description="checkpoint folders to watch: launches rehearsed before they are")
    pipeline_tags: tuple[str, ...] = Field(
        ("text-generation", "image-text-to-text"), description="filter: only models for one of these; [] takes all"
    )
    minimum_billions: float = Field(0, ge=0, description="filter: parameters; a model that does not tell them passes")
    maximum_billions: float = Field(1_000_000, gt=0, description="filter: parameters")
    since: date = Field(date(2025, 1, 1), description="filter: created on the hub on this day or later")
    poll_minutes: _Positive = Field(60, description="how often organisations, models and folders are asked")
    popularity: bool = Field(True, description="count downloads, likes and derived models once a day, one call a model")

    @property
    def named(self) -> tuple[str, ...]:
        """Return the models that are watched by their own name."""
        return tuple(dict.fromkeys([*self.models, *self.full]))

    @property
    def asked(self) -> bool:
        """Tell whether there is anything that the hub itself is asked about."""
        return bool(self.organisations or self.named)


class Site(Section):
    """Where the daemon writes the pages of `settle site`, and where they go beside their folder."""

    folder: Path | None = Field(None, description="folder with the site, for the daemon and for `settle serve`")
    every_hours: float = Field(6, ge=0, description="how often the daemon writes it, where anything is new; 0 never")
    remote: str = Field("", description="git remote that the pages are pushed to; git's own settings say who may")
    branch: str = Field("gh-pages", pattern=r"^[\w][\w./-]*$", description="branch for the pages, and for nothing else")


class Serve(Section):
    """Where `settle serve` listens."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 is every one, for anybody")
    port: int = Field(8007, ge=0, le=65535, description="port to listen on; 0 is any that is free")


class Config(Section):
    home: Path = Field(
        default_factory=default_home,
        description="database, environments, cache and logs; one filesystem, or files cannot be shared",
    )
    engine: Literal["auto", "docker", "podman", "process"] = Field("auto", description="auto: the first that answers")
    runtimes: tuple[Runtime, ...] = Field(
        (Runtime.TRANSFORMERS,), min_length=1, description="runtimes that `settle run` measures, in this order"
    )
    install: Install = Install()
    limits: Limits = Limits()
    disk: Disk = Disk()
    releases: Releases = Releases()
    daemon: Daemon = Daemon()
    alerts: Alerts = Alerts()
    hub: Hub = Hub()
    site: Site = Site()
    serve: Serve = Serve()
