"""The settings: frozen sections whose fields have a description, a check and a default."""

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
        raise ValueError(f"not a requirement: {str(error).splitlines()[0]}") from None
    return line


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://", "file://")):
        raise ValueError("not an address: it must begin with https://, http:// or file://")
    return text


def _folder_or_page(text: str) -> str:
    if "://" not in text and not Path(text).is_dir():
        raise ValueError("the folder does not exist")
    return text


def _page(text: str) -> str:
    if text and not text.startswith(("https://", "http://")):
        raise ValueError("not an address: it must begin with https:// or http://")
    return text


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("the file does not exist")
    return path


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Memory = Annotated[float, Field(ge=0.1, allow_inf_nan=False)]  # less is not enough to start anything
_Line = Annotated[str, AfterValidator(_requirement)]
_Address = Annotated[str, AfterValidator(_address)]
_Link = Annotated[str, AfterValidator(_folder_or_page)]
_File = Annotated[Path, AfterValidator(_file)]
_Page = Annotated[str, AfterValidator(_page)]


class SettingsSection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _archive(text: str) -> str:
    if text and "://" not in text and not Path(text).is_absolute():
        raise ValueError("neither an address nor an absolute path")
    return text if "://" not in text else _address(text)


_Archive = Annotated[str, AfterValidator(_archive)]
_Watched = Annotated[str, AfterValidator(lambda text: text and _address(text))]


class ArchiveSettings(SettingsSection):
    """Source of a runtime's release archive; ``{version}`` and ``{machine}`` (amd64, arm64) are filled in."""

    version: str = Field("", description="release to install when a command names none")
    archive: _Archive = Field("", description="address or path of the archive; default: the publisher's")
    sums: _Archive = Field("", description="address or path of a list of sha256 sums for that archive")
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="required sha256 of that archive")


class Install(SettingsSection):
    """Source of packages; an unset key comes from the environment (UV_*, then PIP_*)."""

    index_url: _Address | None = Field(None, description="package index")
    extra_index_urls: tuple[_Address, ...] | None = Field(None, description="additional package indexes")
    find_links: tuple[_Link, ...] | None = Field(None, description="folders or pages with additional wheels")
    overrides: tuple[_Line, ...] = Field((), description="requirements that override those of other packages")
    constraints: tuple[_Line, ...] = Field((), description="requirements that only restrict versions")
    extra: tuple[_Line, ...] = Field((), description="requirements installed with every runtime")
    exempt: tuple[str, ...] = Field(
        (), description="packages whose versions are not limited to the day, in addition to the recipe's"
    )
    torch: Literal["cpu", "default"] = Field(
        "cpu",
        description='"cpu": the CPU build (vLLM: where there is one of its torch and torchvision, else as "default");'
        ' "default": the build on the index, with gigabytes of CUDA',
    )
    ca_bundle: _File | None = Field(None, description="certificate authorities (PEM) for TLS to the index")
    http_proxy: str | None = Field(None, description="proxy for http://")
    https_proxy: str | None = Field(None, description="proxy for https://")
    no_proxy: str | None = Field(None, description="hosts that are reached without a proxy")
    python: str = Field("3.11", pattern=r"^3\.\d+$", description="Python of the environments under test")
    base_image: str | None = Field(None, description="base image; pin it by its digest")
    ollama: ArchiveSettings = ArchiveSettings()
    debian_mirror: str | None = Field(
        None, description="Debian mirror for building a base image when no registry answers"
    )


class Limits(SettingsSection):
    """Limits of a probe and an installation; exceeding them is an infra fault, never the runtime's."""

    check_seconds: _Positive = Field(120, description="time for one subject in one session")
    import_seconds: _Positive = Field(300, description="time for importing the runtime, once per session")
    install_seconds: _Positive = Field(1800, description="time for resolving, or for building one environment")
    memory_gib: _Memory = Field(8, description="memory of a container")
    subject_memory_gib: _Memory = Field(3, description="memory of one subject in a container")
    cpus: _Positive = Field(2, description="processors of a container")
    workers: int | None = Field(None, gt=0, description="containers at the same time")
    processes: int = Field(512, gt=8, description="processes and threads of a container")
    log_mib: _Positive = Field(4, description="log kept per container; the middle of a longer log is dropped")
    scratch_gib: _Positive = Field(1, description="temporary files of a container, in memory")


class Disk(SettingsSection):
    """Use of the disk."""

    budget_gib: _Positive = Field(
        30, description="space for cache, environments, subjects and logs; `settle disk-budget` keeps it"
    )
    floor_gib: _Positive = Field(3, description="free space below which no environment is built")


class _Repositories(SettingsSection):
    """Where tags and branches of the measured runtimes are listed from; an empty address disables a source."""

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
            _key_of(project): (_Watched, Field(address, description='git repository; "" disables it'))
            for runtime in Runtime
            for project, address in runtime.record.repositories.items()
        },
    )


class Releases(SettingsSection):
    """Sources of new releases, in addition to the package index."""

    poll_minutes: _Positive = Field(60, description="interval between two queries of a source")
    repositories: Repositories = Repositories()
    nightlies: _Watched = Field("https://wheels.vllm.ai", description='vLLM\'s wheels by commit; "" disables it')
    registry: _Watched = Field(
        "https://hub.docker.com", description='registry with the tags of the image; "" disables it'
    )
    image: str = Field(
        "ollama/ollama", pattern=r"^[a-z0-9._-]+/[a-z0-9._-]+$", description="image whose tags are Ollama's releases"
    )


def _listening(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text and not (host and port.isdecimal() and int(port) <= _LAST_PORT):
        raise ValueError('neither host:port nor ""')
    return text


def _pinged(url: SecretStr) -> SecretStr:
    _page(url.get_secret_value())
    return url


class Daemon(SettingsSection):
    """The loop of `settle run`, and how to monitor it."""

    tick_seconds: _Positive = Field(60, description="interval between two checks for due work")
    slice_minutes: _Positive = Field(20, description="longest time of probing before priorities are computed again")
    hours_a_day: _Positive = Field(24, le=24, description="probing time per day, all runtimes together")
    listen: Annotated[str, AfterValidator(_listening)] = Field(
        "127.0.0.1:9750", description='address of /healthz and /metrics; "" disables them'
    )
    ping_url: Annotated[SecretStr, AfterValidator(_pinged)] = Field(
        SecretStr(""), description="address requested after each successful tick: a dead man's switch"
    )
    logs: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, otherwise JSON lines")


class Target(SettingsSection):
    """A receiver of alerts; ``${NAME}`` in its address comes from the environment, and empty filters pass all."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,40}$", description="name in lists and filters")
    url: SecretStr = Field(description="address as apprise writes it: mailto://, slack://, json://, ...")
    runtimes: tuple[Runtime, ...] = Field((), description="only news about these runtimes")
    organisations: tuple[str, ...] = Field((), description="only news about models of these organisations")
    severities: tuple[Severity, ...] = Field((), description="only these severities: info, warning, failure")
    digest: bool = Field(True, description="also send the daily digest, whatever its severity")


class Alerts(SettingsSection):
    """Alerts about news; without a target no message is written."""

    targets: tuple[Target, ...] = Field((), description="receivers, one table `[[alerts.targets]]` each")
    digest_hour: int = Field(7, ge=0, le=23, description="UTC hour of the daily digest")
    flap_days: int = Field(
        7, ge=1, le=90, description="a cell with three flips within this many days is flapping, which is announced once"
    )
    link_base: _Page = Field("", description="address of the published site, for links in alerts and in the feed")

    @model_validator(mode="after")
    def _names_are_names(self) -> Alerts:
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("two targets have the same name")
        return self


def _hub_name(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*", text):
        raise ValueError("not a name on a hub")
    return text


_HubName = Annotated[str, AfterValidator(_hub_name)]


class Hub(SettingsSection):
    """The published models to watch; an unset key comes from the environment (HF_*)."""

    endpoint: _Address | None = Field(None, description="hub with the Hugging Face protocol (HF_ENDPOINT)")
    token: SecretStr | None = Field(
        None, description="token for reading (HF_TOKEN, or the file that HF_TOKEN_PATH names)"
    )
    organisations: tuple[_HubName, ...] = Field(
        (), description="organisations whose new models are watched, if they pass the filters"
    )
    models: tuple[_HubName, ...] = Field((), description="models that are watched regardless of the filters")
    full: tuple[_HubName, ...] = Field(
        (), description="models that are also probed with their full weights, downloaded once per revision"
    )
    folders: tuple[Path, ...] = Field(
        (), description="checkpoint folders to watch, for example before a model is public"
    )
    pipeline_tags: tuple[str, ...] = Field(
        ("text-generation", "image-text-to-text", "any-to-any", "audio-text-to-text"),
        description="filter: only models for one of these tasks; [] takes all, and models without a task always pass",
    )
    minimum_billions: float = Field(
        0, ge=0, description="filter: fewest parameters, in billions; models of unknown size pass"
    )
    maximum_billions: float = Field(1_000_000, gt=0, description="filter: most parameters, in billions")
    since: date = Field(date(2025, 1, 1), description="filter: created on the hub on this day or later")
    poll_minutes: _Positive = Field(60, description="interval between two queries of organisations, models and folders")
    popularity: bool = Field(
        True, description="count downloads, likes and derived models daily, with a request per model"
    )

    @property
    def named(self) -> tuple[str, ...]:
        """Return the models that the configuration names."""
        return tuple(dict.fromkeys([*self.models, *self.full]))

    @property
    def asked(self) -> bool:
        """Return whether the configuration watches anything on the hub."""
        return bool(self.organisations or self.named)


class Site(SettingsSection):
    """The pages of `settle site`: their folder, and the git remote that they are pushed to."""

    folder: Path | None = Field(None, description="folder of the site, for the daemon and for `settle serve`")
    every_hours: float = Field(6, ge=0, description="interval at which the daemon writes a changed site; 0 disables it")
    remote: str = Field("", description="git remote to push the pages to, with the credentials of git")
    branch: str = Field("gh-pages", pattern=r"^[\w][\w./-]*$", description="branch that holds only the pages")


class Serve(SettingsSection):
    """The address of `settle serve`."""

    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 is every address, open to all"
    )
    port: int = Field(8007, ge=0, le=65535, description="port to listen on; 0 picks a free port")


class Config(SettingsSection):
    home: Path = Field(
        default_factory=default_home,
        description="database, environments, cache and logs; must be one filesystem",
    )
    engine: Literal["auto", "docker", "podman", "process"] = Field(
        "auto", description="container engine; auto: the first that answers"
    )
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
