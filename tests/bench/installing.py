"""How long an environment takes to build, cold and warm, against pip in a fresh container."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from containers.engine import Command, CommandLimits, Execution, Mount, Role
from containers.environment import Environment
from containers.environments import Environments
from monitor.sources.web import install_settings
from tests.bench.timing import Times, tell, tell_aim, timed, title

if TYPE_CHECKING:
    from pathlib import Path

    from containers.lock import Lock
    from containers.settings import InstallSettings
    from monitor.runner.context import RunContext

WARM_BUILDS = 5
PIP_SECONDS = 1200
AIM = 20
PIP = """
set -eu
python3 -m venv "$1/pip"
"$1/pip/bin/python" -m pip install --quiet --require-hashes --only-binary :all: -r "$1/lock.txt"
"$1/pip/bin/python" -m pip check
"""


def measure(context: RunContext, lock: Lock, scratch: Path) -> None:
    title(f"environments: {len(lock.packages)} packages, pinned and hashed, with their bytecode")
    settings = install_settings(context.config)
    cold_root, pip_folder = scratch / "cold", scratch / "with-pip"
    cold = Times((timed(lambda: _build(context, settings, cold_root, lock)),))
    shutil.rmtree(cold_root)
    pip = Times((timed(lambda: _pip(context, settings, pip_folder, lock)),))
    shutil.rmtree(pip_folder)
    warm = Times(tuple(_again(context, lock) for _ in range(WARM_BUILDS)))
    tell("pip install, fresh container", str(pip))
    tell("settle, nothing cached", str(cold))
    tell("settle, everything cached", str(warm))
    tell("pip / cold", f"{pip.median / cold.median:.1f}")
    tell_aim("pip / warm", pip.median / warm.median, f"at least {AIM}", met=pip.median / warm.median >= AIM)


def _build(context: RunContext, settings: InstallSettings, root: Path, lock: Lock) -> None:
    _ensure(Environments(engine=context.engine, base=context.base, root=root, settings=settings), lock)


def _again(context: RunContext, lock: Lock) -> float:
    context.environments.remove(lock.digest)
    return timed(lambda: _ensure(context.environments, lock))


def _ensure(environments: Environments, lock: Lock) -> None:
    built = environments.ensure(lock)
    assert isinstance(built, Environment), built
    assert built.built


def _pip(context: RunContext, settings: InstallSettings, folder: Path, lock: Lock) -> Execution:
    """Install the same lock as people do: a virtual environment, pip, the same index and folders of wheels."""
    folder.mkdir(parents=True)
    (folder / "lock.txt").write_text(lock.text, encoding="utf-8")
    env = {
        "PIP_INDEX_URL": settings.index_url,
        "PIP_EXTRA_INDEX_URL": " ".join(settings.extra_index_urls),
        "PIP_FIND_LINKS": " ".join(settings.find_links),
        "PIP_CERT": str(settings.ca_bundle or ""),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HTTPS_PROXY": settings.https_proxy,
    }
    shown = [path for path in (*map(_path, settings.find_links), settings.ca_bundle) if path is not None]
    execution = context.engine.run(
        Command(
            argv=("/bin/sh", "-c", PIP, "pip", str(folder)),
            role=Role.INSTALLER,
            image=context.base.image,
            mounts=(*(Mount(path, str(path)) for path in shown), Mount(folder, str(folder), writable=True)),
            env={name: value for name, value in env.items() if value},
            limits=CommandLimits(seconds=PIP_SECONDS, memory_bytes=8 << 30, tmpfs_bytes=4 << 30),
        )
    )
    assert execution.ok, execution.log.decode(errors="replace")[-2000:]
    return execution


def _path(link: str) -> Path | None:
    from pathlib import Path

    return Path(link) if "://" not in link else None
