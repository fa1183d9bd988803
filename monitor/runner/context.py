"""Opens what measuring needs: the store, an engine, a base, environments, the tools of runtimes, subjects' files."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers.base import base_with_packages, ensure_base
from containers.connect import connect
from containers.environments import Environments
from containers.errors import ContainersError
from containers.leftovers import remove
from containers.recipes import recipe_of
from monitor.domain import REFERENCE, Isolation, Origin, Platform, SubjectForm, folder_named
from monitor.errors import InfraError
from monitor.miniatures.golden import golden, golden_of_folder
from monitor.miniatures.writer import write_miniature
from monitor.progress import utc_now
from monitor.runner.derive import Deriver
from monitor.runner.install import Installer
from monitor.runner.parallel import Runner, RuntimeTools, worker_count
from monitor.runner.session import GIB, PreparedSubject, SessionRunner
from monitor.sources.web import install_settings
from monitor.store import open_store
from monitor.subjects.catalogue import catalogue_of
from monitor.subjects.made_folder import made_of
from monitor.subjects.weights import checkpoint_folder
from monitor.verdicts import golden_of
from monitor.wire.bundle import build_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from containers.base import Base
    from containers.engine import Engine
    from monitor.config.settings import Config
    from monitor.domain import Runtime, Subject
    from monitor.progress import Progress
    from monitor.runner.request import ProbeRequest
    from monitor.store import Reader, Store
    from monitor.subjects.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class RunContext:
    config: Config
    store: Store
    engine: Engine
    base: Base
    environments: Environments
    bundle: Path  # the probes
    workshop: Path  # the files of sessions in progress
    catalogue: Catalogue
    platform: Platform
    progress: Progress
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep

    @property
    def runner(self) -> Runner:
        limits = self.config.limits
        return Runner(
            store=self.store,
            platform=self.platform,
            control=self.catalogue.control.subjects()[0],
            tools_for=self.tools_for,
            prepare_subject=partial(prepare_subject, self.store, self.catalogue, self.config.home),
            progress=self.progress,
            now=self.now,
            sleep=self.sleep,
            workers=worker_count(limits.workers, container_bytes=int(limits.memory_gib * GIB)),
        )

    @property
    def deriver(self) -> Deriver:
        return Deriver(self.tools_for(REFERENCE), self.config.home)

    def tools_for(self, runtime: Runtime) -> RuntimeTools:
        """Return a runtime's tools, on a base with its libraries. Raises InfraError where those cannot be had."""
        recipe = recipe_of(runtime, self.platform.accelerator)
        settings = install_settings(self.config)
        base, environments = self.base, self.environments
        if recipe.libraries or recipe.is_built:

            def with_packages(base: Base, packages: tuple[str, ...]) -> Base:
                with _as_infra_error():
                    return base_with_packages(
                        self.engine, base, packages, settings=settings, progress=self.progress.message
                    )

            base = with_packages(base, recipe.libraries)
            toolchain = partial(with_packages, base, recipe.build_libraries) if recipe.is_built else None
            patient = replace(settings, seconds=max(settings.seconds, recipe.build_seconds))
            environments = Environments(self.engine, base, self.config.home / "install", patient, toolchain=toolchain)
        return RuntimeTools(
            recipe=recipe,
            installer=Installer(
                recipe=recipe,
                store=self.store,
                environments=environments,
                platform=self.platform,
                settings=settings,
                config=self.config.install,
                progress=self.progress,
                now=self.now,
            ),
            session_runner=SessionRunner(
                self.engine, base.image, self.bundle, self.workshop, self.config.limits, recipe
            ),
        )


@contextmanager
def open_context(config: Config, progress: Progress) -> Iterator[RunContext]:
    """Take the database's writer lock, remove what a crash left behind, and hold everything until the end.

    Raises InfraError when no engine or base can be had, and DatabaseError when the database cannot.
    """
    with open_store(config.home) as store, run_context(config, store, progress) as context:
        yield context


@contextmanager
def run_context(
    config: Config,
    store: Store,
    progress: Progress,
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[RunContext]:
    """Open everything but the store, which is open already. Raises InfraError as above."""
    settings = install_settings(config)
    with _as_infra_error(), _engine(config) as engine:
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
        workshop = config.home / "sessions"
        remove(workshop)  # we hold the lock, so no session runs there
        yield RunContext(
            config=config,
            store=store,
            engine=engine,
            base=base,
            environments=environments,
            bundle=bundle,
            workshop=workshop,
            catalogue=catalogue_of(config.home, store),
            platform=Platform(
                python=config.install.python,
                accelerator="cpu",
                isolation=Isolation.CONTAINER if engine.isolated else Isolation.PROCESS,
            ),
            progress=progress,
            now=now,
            sleep=sleep,
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
def _as_infra_error() -> Iterator[None]:
    try:
        yield
    except ContainersError as error:
        raise InfraError(str(error), hint=error.hint) from error


def prepare_subject(
    store: Reader, catalogue: Catalogue, home: Path, subject: Subject, request: ProbeRequest
) -> PreparedSubject:
    """Return the subject with its files in place, the values that its files promise, and the reference's.

    Raises InfraError where full weights were removed.
    """
    reference = request.runtime is REFERENCE
    expected: dict[str, Any] = {
        "trace": golden_of(store.cells, subject.digest, with_trace=not reference),
        "pins": reference and request.origin is Origin.LIVE,
    }
    if path := folder_named(subject.id):
        folder = Path(path)
        made = made_of(folder)
        return PreparedSubject(subject, folder, (golden(made) if made else golden_of_folder(folder)) | expected)
    if subject.form is SubjectForm.FULL:
        folder = checkpoint_folder(home, subject.digest)
        if not folder.is_dir():
            raise InfraError(
                f"the weights of {subject.model_id} are not here",
                hint="name it in hub.full, and the daemon fetches them; or probe its miniature",
            )
        return PreparedSubject(subject, folder, golden_of_folder(folder) | expected)
    miniature = catalogue.miniature_of(subject.id, subject.digest)
    folder = write_miniature(miniature, home / "subjects")
    return PreparedSubject(subject, folder, golden(miniature) | expected)
