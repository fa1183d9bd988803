"""Sets up what a measurement needs, once: the store, an engine, a base, environments, and the bench itself."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from containers.base import ensure_base
from containers.base_packages import base_with_packages
from containers.connect import connect
from containers.environments import Environments
from containers.errors import ContainersError
from containers.recipes import recipe_of
from monitor.domain import Isolation, Platform
from monitor.errors import InfraError
from monitor.runner.session import SessionRunner
from monitor.runner.threads import worker_count
from monitor.sources.access import install_settings
from monitor.store import open_store
from monitor.subjects.catalogue import catalogue_of
from monitor.wire.bundle import build_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from containers.base import Base
    from containers.engine import Engine
    from monitor.config.settings import Config
    from monitor.domain import Runtime
    from monitor.progress import Progress
    from monitor.store import Store
    from monitor.subjects.catalogue import Catalogue

GIB = 1 << 30


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
        if not own.libraries and not own.is_built:
            return self
        settings = install_settings(self.config)

        def with_packages(base: Base, packages: tuple[str, ...]) -> Base:
            with _ours():
                return base_with_packages(self.engine, base, packages, settings=settings, progress=progress.message)

        base = with_packages(self.base, own.libraries)
        toolchain = partial(with_packages, base, own.build_libraries) if own.is_built else None
        if own.is_built:
            settings = replace(settings, seconds=max(settings.seconds, own.build_seconds))
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
        base = ensure_base(engine, settings=settings, home=config.home, progress=progress.message)
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
