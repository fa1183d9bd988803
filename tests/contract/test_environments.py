"""Environments for real: resolved, built once, whole or not at all."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from containers.environments import Environments
from containers.failures import InstallFault
from tests.contract.envs import built, failed, locked, python

if TYPE_CHECKING:
    from pathlib import Path

    from containers.base import Base
    from containers.engine import Command, Engine, Execution
    from containers.environment import Environment
    from containers.settings import InstallSettings
    from tests.contract.conftest import Index

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_an_environment_is_built_once_and_a_probe_only_reads_it(
    environments: Environments, engine: Engine, base: Base, index: Index, home: Path
) -> None:
    index.add("spec-a", requires=("spec-b>=1",), code="import spec_b; WORD = spec_b.WORD\n")
    index.add("spec-b", code="WORD = 'works'\n")
    lock = locked(environments, "spec-a")
    assert [(pin.name, pin.version) for pin in lock.packages] == [("spec-a", "1.0"), ("spec-b", "1.0")]

    first = built(environments.ensure(lock))
    began = time.monotonic()
    second = built(environments.ensure(lock))

    assert (first.built, second.built) == (True, False)
    assert time.monotonic() - began < 0.1
    assert second.seconds == pytest.approx(first.seconds, abs=0.01)
    assert first.lock_text == lock.text
    where = f"p = '{first.path}/lib/python{base.python}/site-packages/spec_a/__init__.py'"
    execution = python(engine, base, first, f"import spec_a; print(spec_a.WORD, flush=True)\n{where}; open(p, 'a')")
    assert b"works" in execution.log
    if "WITHOUT ISOLATION" not in engine.describe():
        assert execution.exit_code == 1  # by its mount or by its owner, it cannot be opened for writing
    assert list((first.path / f"lib/python{base.python}/site-packages/spec_a/__pycache__").glob("*.pyc"))
    assert {path.name for path in (home / "store" / "envs").iterdir()} == {lock.digest}
    assert list((home / "store" / "work").iterdir()) == []


class Watched:
    """The engine, and what of our disk it is shown."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.shown: list[Path] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, command: Command, **more: Any) -> Execution:
        self.shown += [mount.source for mount in command.mounts]
        return self._engine.run(command, **more)


def test_an_engine_elsewhere_is_shown_only_what_lies_in_the_home(
    engine: Engine, base: Base, index: Index, home: Path, settings: InstallSettings
) -> None:
    """A daemon in a container has the home in common with the host's engine, and its own files in its own image."""
    if not engine.isolated:
        pytest.skip("a plain process sees the daemon's own disk")
    watched: Any = Watched(engine)
    environments = Environments(watched, base, home / "store", settings)
    index.add("spec-a")
    built(environments.ensure(locked(environments, "spec-a")))
    assert {path.relative_to(home / "store").parts[:1] for path in watched.shown} == {(), ("tools",)}
    writes = "import os, sys; print(os.access(sys.argv[1], os.W_OK))"
    asked = environments._installer.run("python3", "-c", writes, str(home / "store" / "tools"))
    assert asked.log == b"False\n"  # what they run is not theirs to change


def test_the_same_packages_share_their_files(environments: Environments, index: Index, engine: Engine) -> None:
    index.add("spec-a", code="A = 1\n")
    index.add("spec-b", code="B = 1\n")
    one = built(environments.ensure(locked(environments, "spec-a")))
    two = built(environments.ensure(locked(environments, "spec-a", "spec-b")))

    def inodes(environment: Environment, pattern: str) -> set[int]:
        return {path.stat().st_ino for path in environment.path.rglob(pattern) if "spec_a/" in str(path)}

    assert b"1 modules compiled, 1 of 2 packages shared" in two.log
    shared = inodes(one, "*.py*") & inodes(two, "*.py*")
    assert len(shared) == (
        2 if engine.mounts_read_only else 0
    )  # the source and its bytecode; what may be written is a copy
    usage = environments.usage()
    assert {entry.digest for entry in usage.environments} == {one.digest, two.digest}
    assert usage.total_bytes >= usage.cache_bytes > 0
    assert all(entry.bytes > 0 for entry in usage.environments)


def test_a_removed_environment_is_gone_and_can_be_built_again(environments: Environments, index: Index) -> None:
    index.add("spec-a")
    lock = locked(environments, "spec-a")
    built(environments.ensure(lock))

    environments.remove(lock.digest)
    environments.remove(lock.digest)

    assert environments.find(lock.digest) is None
    assert built(environments.ensure(lock)).built


def test_what_a_crash_left_is_swept_and_what_is_alive_stays(environments: Environments, home: Path) -> None:
    from containers.processes import owner_token

    envs = home / "store" / "envs"
    with subprocess.Popen(["/bin/true"]) as gone:
        dead = owner_token(gone.pid)
    (envs / f".building-abc-0@{dead}" / "bin").mkdir(parents=True)
    (envs / f".removing-abc-0@{dead}").mkdir()
    (home / "store" / "work" / f"files-0@{dead}").mkdir()
    living = envs / f".building-abc-1@{owner_token()}"
    living.mkdir()

    assert len(environments.sweep()) == 3
    assert list(envs.iterdir()) == [living]
    assert environments.sweep() == []


def test_an_environment_without_its_marker_is_not_used(environments: Environments, index: Index, home: Path) -> None:
    index.add("spec-a")
    lock = locked(environments, "spec-a")
    half = home / "store" / "envs" / lock.digest
    half.mkdir()
    (half / "leftover").touch()

    result = environments.ensure(lock)

    # nobody but a stranger puts something there: it is not touched, and it is not used
    assert failed(result).slug is InstallFault.DISK
    assert environments.find(lock.digest) is None
