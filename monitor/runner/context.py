"""Sets up what a measurement needs, once: the store, an engine, a base, environments, and the bench itself."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from containers.base import ensure_base
from containers.connect import connect
from containers.environments import Environments
from containers.errors import ContainersError
from containers.outfit import outfitted
from containers.recipes import Built, recipe_of
from containers.settings import InstallSettings, TorchBuild, settings_from_environment
from monitor.domain import Isolation, Platform
from monitor.errors import InfraError
from monitor.runner.session import SessionRunner
from monitor.runner.threads import worker_count
from monitor.sources.index import DEFAULT_INDEX, IndexAccess
from monitor.store import open_store
from monitor.subjects.catalogue import catalogue_of
from monitor.wire.bundle import build_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from containers.base import Base
    from containers.engine import Engine
    from monitor.config.settings import Config
    from monitor.domain import Runtime
    from monitor.progress import Progress
    from monitor.sources.hub_wire import HubAccess
    from monitor.store import Store
    from monitor.subjects.catalogue import Catalogue

GIB = 1 << 30
T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RunContext:
    config: Config
    store: Store
    engine: Engine
    base: Base
    environments: Environments
    session_runner: SessionRunner
    catalogue: Catalogue
    platform: Platform
    workers: int = 1  # containers side by side
    now: Callable[[], datetime] = utc_now

    def for_runtime(self, runtime: Runtime, progress: Progress) -> RunContext:
        """Return the bench as one runtime needs it: on a base with its libraries, and builders with their tools.

        Raises BenchError where they cannot be had.
        """
        own = recipe_of(runtime, self.platform.accelerator)
        if not own.LIBRARIES and not isinstance(own, Built):
            return self
        settings = install_settings(self.config)

        def with_packages(base: Base, packages: tuple[str, ...]) -> Base:
            with _ours():
                return outfitted(self.engine, base, packages, settings=settings, say=progress.message)

        base = with_packages(self.base, own.LIBRARIES)
        toolchain = partial(with_packages, base, own.BUILD_LIBRARIES) if isinstance(own, Built) else None
        if isinstance(own, Built):
            settings = replace(settings, seconds=max(settings.seconds, own.BUILD_SECONDS))
        root = self.config.home / "install"
        environments = Environments(self.engine, base, root, settings, toolchain=toolchain)
        return replace(
            self, base=base, environments=environments, session_runner=replace(self.session_runner, image=base.image)
        )


@contextmanager
def open_context(config: Config, progress: Progress) -> Iterator[RunContext]:
    """Take the database's writer lock, clear what a crash left behind, and hold everything until the end.

    Raises BenchError when no engine or base can be had, and DatabaseError when the database cannot.
    """
    with open_store(config.home) as store, run_context(config, store, progress) as context:
        yield context


@contextmanager
def run_context(
    config: Config, store: Store, progress: Progress, *, now: Callable[[], datetime] = utc_now
) -> Iterator[RunContext]:
    """Set up everything beside a store that is open already. Raises BenchError as above."""
    settings = install_settings(config)
    with _ours(), _engine(config) as engine:
        progress.message(engine.describe())
        if config.engine == "auto" and not engine.isolated:
            progress.message(
                "for containers, install and start Docker or Podman (`make engine` does it on Debian, as root)"
            )
        swept = engine.sweep()
        base = ensure_base(engine, settings=settings, home=config.home, say=progress.message)
        # an installer sees this folder and nothing else of the home: no database, no subject
        environments = Environments(engine=engine, base=base, root=config.home / "install", settings=settings)
        swept += environments.sweep()  # what was building is gone from the engine by now
        if swept:
            progress.message(f"removed what an earlier run left behind: {', '.join(swept)}")
        bundle = config.home / "probes.pyz"
        build_bundle(bundle)
        workshop = config.home / "sittings"
        shutil.rmtree(workshop, ignore_errors=True)  # we hold the lock, so whoever sat there is gone
        yield RunContext(
            config=config,
            store=store,
            engine=engine,
            base=base,
            environments=environments,
            session_runner=SessionRunner(engine, base.image, bundle, workshop, config.limits),
            catalogue=catalogue_of(config.home, store),
            platform=Platform(
                python=config.install.python,
                accelerator="cpu",
                isolation=Isolation.CONTAINER if engine.isolated else Isolation.PROCESS,
            ),
            workers=worker_count(config.limits.workers, container_bytes=int(config.limits.memory_gib * GIB)),
            now=now,
        )


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


def index_access(settings: InstallSettings) -> IndexAccess:
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
    return IndexAccess(
        url=settings.index_url or DEFAULT_INDEX,
        ca_bundle=settings.ca_bundle,
        proxies=tuple((scheme, url) for scheme, url in proxies.items() if url),
    )


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


@contextmanager
def _engine(config: Config) -> Iterator[Engine]:
    engine = connect(config.engine, home=config.home)
    try:
        yield engine
    except BaseException:
        engine.stop()  # a signal to us is no reason to leave a container behind
        raise
    finally:
        engine.close()


@contextmanager
def _ours() -> Iterator[None]:
    try:
        yield
    except ContainersError as error:
        raise InfraError(str(error), hint=error.hint) from error
