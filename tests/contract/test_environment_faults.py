"""An environment that cannot be had: whose fault it is, and that nothing half is left."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from containers.environments import Environments
from containers.errors import NoRoom
from containers.failures import InstallFault, InstallStage
from tests.contract.envs import failed, locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from containers.base import Base
    from containers.engine import Engine
    from containers.settings import InstallSettings
    from tests.contract.conftest import Index

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.mark.parametrize(
    ("requirements", "slug", "no_such_version", "words"),
    [
        (("spec-pins",), InstallFault.UNRESOLVABLE, False, "spec-b>=2"),
        (("spec-a==9.9.9",), InstallFault.UNRESOLVABLE, True, "no version of spec-a==9.9.9"),
        (("spec-lost",), InstallFault.INDEX, False, "spec-nowhere was not found"),
        (("spec-unknown",), InstallFault.INDEX, False, "not found in the package registry"),
    ],
    ids=["contradicting pins", "no such version", "lost dependency", "wrong index"],
)
def test_a_resolution_that_fails_says_whose_fault_it_is(  # noqa: PLR0917 - a table's columns
    environments: Environments,
    index: Index,
    requirements: tuple[str, ...],
    slug: str,
    no_such_version: bool,
    words: str,
) -> None:
    index.add("spec-a")
    index.add("spec-b")
    index.add("spec-pins", requires=("spec-b>=2", "spec-a"))
    index.add("spec-lost", requires=("spec-nowhere",))

    failure = failed(environments.resolve(requirements, None))

    assert (failure.stage, failure.slug, failure.no_such_version) == (InstallStage.RESOLVE, slug, no_such_version)
    assert words in failure.message


def test_an_index_that_tells_no_upload_times_is_ours(environments: Environments, index: Index) -> None:
    index.add("spec-a")

    failure = failed(environments.resolve(["spec-a==1.0"], datetime(2025, 3, 15, tzinfo=UTC)))
    assert (failure.slug, failure.no_such_version) == (InstallFault.INDEX, False)


def test_a_constraint_of_ours_is_never_the_runtimes_fault(
    engine: Engine, base: Base, home: Path, settings: InstallSettings, index: Index
) -> None:
    index.add("spec-a", requires=("spec-b>=1",))
    index.add("spec-b")
    ours = Environments(engine, base, home / "store", replace(settings, constraints=("spec-b<1",)))

    failure = failed(ours.resolve(["spec-a"], None))

    assert failure.slug is InstallFault.RECIPE
    assert "this machine's constraints" in failure.message


def test_an_extra_package_of_ours_is_never_the_runtimes_fault(environments: Environments, index: Index) -> None:
    index.add("spec-a", requires=("spec-b>=1",))
    index.add("spec-b")
    index.add("spec-ours", requires=("spec-b<1",))

    unfit = failed(environments.resolve(["spec-a"], None, extra=["spec-ours"]))
    missing = failed(environments.resolve(["spec-a"], None, extra=["spec-b==7"]))

    assert (unfit.slug, missing.slug) == (InstallFault.RECIPE, InstallFault.RECIPE)
    assert not missing.no_such_version
    assert "extra packages" in unfit.message


def test_cuda_never_comes_by_surprise(environments: Environments, index: Index) -> None:
    index.add("torch", "2.0", requires=("nvidia-things",))
    index.add("nvidia-things")
    index.add("spec-a", requires=("torch",))
    # the index's own torch, as a find-links folder without a CPU build would give it
    failure = failed(environments.resolve(["spec-a"], None))

    assert failure.slug in {InstallFault.RECIPE, InstallFault.NETWORK}  # where torch's own index answers or does not


def test_an_index_that_goes_away_is_ours(environments: Environments, index: Index) -> None:
    index.add("spec-a")
    lock = locked(environments, "spec-a")
    index.broken = 404
    gone = failed(environments.ensure(lock))
    index.broken = 503
    ailing = failed(environments.ensure(lock))
    index.close()
    dead = failed(environments.ensure(lock))

    assert [gone.slug, ailing.slug, dead.slug] == [InstallFault.INDEX, InstallFault.INDEX, InstallFault.NETWORK]
    assert {gone.stage, ailing.stage, dead.stage} == {InstallStage.INSTALL}


def test_other_bytes_than_the_locks_are_ours(environments: Environments, index: Index) -> None:
    index.add("spec-a")
    lock = locked(environments, "spec-a")
    index.add("spec-a", code="print('changed under us')\n")

    failure = failed(environments.ensure(lock))

    assert failure.slug is InstallFault.INDEX
    assert "Hash mismatch" in failure.message


def test_a_time_limit_is_ours(engine: Engine, base: Base, home: Path, settings: InstallSettings, index: Index) -> None:
    index.add("spec-a")
    hasty = Environments(engine, base, home / "store", replace(settings, seconds=0.01))

    assert failed(hasty.resolve(["spec-a"], None)).slug is InstallFault.TIME


def test_too_little_room_is_said_before_anything_is_fetched(
    engine: Engine, base: Base, home: Path, settings: InstallSettings, index: Index
) -> None:
    index.add("spec-a")
    lock = locked(Environments(engine, base, home / "store", settings), "spec-a")
    cramped = Environments(engine, base, home / "store", replace(settings, free_bytes=1 << 60))

    failure = failed(cramped.ensure(lock))

    assert failure.slug is InstallFault.DISK
    assert "are needed" in failure.message


@pytest.fixture
def small_disk(home: Path, engine: Engine) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = home / "disk"
    disk.mkdir()
    room = (Path(find_uv_bin()).stat().st_size if engine.isolated else 0) + (3 << 20)  # a copy of uv lies in each home
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["/bin/umount", str(disk)], check=True)


def test_a_full_disk_is_ours(
    engine: Engine, base: Base, small_disk: Path, settings: InstallSettings, index: Index
) -> None:
    index.add("spec-big", code="X = '" + "x" * (4 << 20) + "'\n")
    environments = Environments(engine, base, small_disk, replace(settings, free_bytes=0))
    lock = locked(environments, "spec-big")

    failure = failed(environments.ensure(lock))

    assert failure.slug is InstallFault.DISK
    # where files are copied, how many is known before
    assert ("are needed" if environments.copied_bytes else "No space left on device") in failure.message
    assert list((small_disk / "envs").iterdir()) == []


def test_a_disk_that_does_not_even_hold_our_tools_is_said(
    engine: Engine, base: Base, small_disk: Path, settings: InstallSettings
) -> None:
    if not engine.isolated:
        pytest.skip("a plain process uses the daemon's own")
    (small_disk / "others").write_bytes(bytes(4 << 20))
    with pytest.raises(NoRoom, match=r"uv cannot be copied into .*: No space left on device"):
        Environments(engine, base, small_disk, settings)
    assert list((small_disk / "tools").iterdir()) == []
