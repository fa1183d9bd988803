"""Environments for real: resolved, built once, whole or not at all; and whose fault it is when they are not."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from uv import find_uv_bin

from containers.engine import Command, Limits, Role
from containers.environment import Environment
from containers.environments import Environments
from containers.errors import NoRoom
from containers.failures import InstallFailure, InstallFault, Stage
from containers.newest import Listed
from containers.resolving import Resolution
from containers.settings import settings_from_environment
from tests.contract.conftest import make_wheel
from tests.specimens.packages import write_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from containers.base import Base
    from containers.engine import Engine, Execution
    from containers.lock import Lock
    from containers.settings import InstallSettings
    from tests.contract.conftest import Index

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def environments(engine: Engine, base: Base, home: Path, settings: InstallSettings) -> Environments:
    return Environments(engine, base, home / "store", settings)


def locked(environments: Environments, *requirements: str) -> Lock:
    resolution = environments.resolve(requirements, None)
    assert isinstance(resolution, Resolution), resolution
    return resolution.lock


def failed(result: object) -> InstallFailure:
    assert isinstance(result, InstallFailure), result
    return result


def built(result: object) -> Environment:
    assert isinstance(result, Environment), result
    return result


def python(engine: Engine, base: Base, environment: Environment, code: str) -> Execution:
    return engine.run(
        Command(
            argv=(f"{environment.path}/bin/python", "-I", "-c", code),
            role=Role.PROBE,
            image=base.image,
            mounts=(environment.mount,),
            limits=Limits(seconds=60, memory_bytes=256 << 20),
        )
    )


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
    assert len(shared) == (2 if engine.isolated else 0)  # the source and its bytecode; a plain process gets copies
    usage = environments.usage()
    assert {entry.digest for entry in usage.environments} == {one.digest, two.digest}
    assert usage.total_bytes >= usage.cache_bytes > 0
    assert all(entry.own_bytes > 0 for entry in usage.environments)


def test_a_removed_environment_is_gone_and_can_be_built_again(environments: Environments, index: Index) -> None:
    index.add("spec-a")
    lock = locked(environments, "spec-a")
    built(environments.ensure(lock))

    environments.remove(lock.digest)
    environments.remove(lock.digest)

    assert environments.find(lock.digest) is None
    assert built(environments.ensure(lock)).built


def test_what_a_crash_left_is_swept_and_what_is_alive_stays(environments: Environments, home: Path) -> None:
    from containers.owner import owner_token

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

    assert (failure.stage, failure.slug, failure.no_such_version) == (Stage.RESOLVE, slug, no_such_version)
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
    assert {gone.stage, ailing.stage, dead.stage} == {Stage.INSTALL}


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
    assert "are wanted" in failure.message


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
    assert "No space left on device" in failure.message
    assert list((small_disk / "envs").iterdir()) == []


def test_a_disk_that_does_not_even_hold_our_tools_is_said(
    engine: Engine, base: Base, small_disk: Path, settings: InstallSettings
) -> None:
    if not engine.isolated:
        pytest.skip("a plain process uses the daemon's own")
    (small_disk / "others").write_bytes(bytes(4 << 20))
    with pytest.raises(NoRoom, match=r"uv cannot be laid into .*: No space left on device"):
        Environments(engine, base, small_disk, settings)
    assert list((small_disk / "tools").iterdir()) == []


@pytest.mark.index
def test_a_wheel_from_source_enters_by_its_hash(engine: Engine, base: Base, home: Path) -> None:
    sources = home / "sources"
    write_source(sources, "spec-source")
    here = settings_from_environment(os.environ)
    here = replace(here, find_links=(*here.find_links, str(sources)), seconds=300, free_bytes=0)
    environments = Environments(engine, base, home / "store", here)

    day = datetime(2025, 3, 15, tzinfo=UTC)
    said: list[str] = []
    resolution = environments.resolve(["spec-source"], day, say=said.append)
    assert isinstance(resolution, Resolution), resolution
    (wheel,) = (home / "store" / "wheels").glob("*/*.whl")
    assert resolution.lock.packages[0].hashes == (f"sha256:{wheel.parent.name}",)
    assert said[0].startswith("spec-source has no wheel: building it from source")
    assert said[1:] == ["from source: spec_source-1.0-py3-none-any.whl"]
    again = environments.resolve(["spec-source"], day)
    assert isinstance(again, Resolution), again
    assert again.lock.digest == resolution.lock.digest  # no two builds are equal: it has been kept

    environment = built(environments.ensure(resolution.lock))
    assert python(engine, base, environment, "import spec_source; print(spec_source.WORD)").log == b"from source\n"


@pytest.mark.index
def test_a_newer_version_without_a_wheel_is_not_passed_over(engine: Engine, base: Base, home: Path) -> None:
    links = home / "links"
    write_source(links, "spec-source", version="2.0")
    make_wheel(links, "spec-source", "1.0", requires=(), code="")
    here = settings_from_environment(os.environ)
    here = replace(here, find_links=(*here.find_links, str(links)), seconds=300, free_bytes=0)
    environments = Environments(engine, base, home / "store", here)
    said: list[str] = []

    def version(*listed: str) -> str:
        said.clear()
        resolution = environments.resolve(["spec-source"], None, listed=Listed("spec-source", listed), say=said.append)
        assert isinstance(resolution, Resolution), resolution
        return resolution.lock.packages[0].version

    assert (version("1.0"), said) == ("1.0", [])  # nothing newer is listed, and nothing more is asked
    assert version("1.0", "2.0") == "2.0"
    assert said[0] == "spec-source 2.0 is listed, and was passed over: asking what may be built"
    assert said[-1] == "from source: spec_source-2.0-py3-none-any.whl"

    make_wheel(links, "spec-source", "2.0", requires=(), code="")  # an index may hold an older page than its list
    (links / "spec_source-2.0.tar.gz").unlink()
    assert (version("1.0", "2.0"), said) == ("2.0", [])
    assert version("1.0", "2.0", "3.0") == "2.0"  # for another Python, say: nobody here gets it
    assert len(said) == 1
    assert (version("1.0", "2.0", "3.0"), said) == ("2.0", [])  # and that is known from now on


def test_a_release_that_is_newer_than_a_page_kept_is_found_and_not_built(
    environments: Environments, index: Index
) -> None:
    index.kept_seconds = 600
    index.add("spec-a")
    assert locked(environments, "spec-a").packages[0].version == "1.0"
    index.add("spec-a", "2.0")
    assert locked(environments, "spec-a").packages[0].version == "1.0"  # uv asks nobody
    said: list[str] = []

    resolution = environments.resolve(["spec-a"], None, listed=Listed("spec-a", ("1.0", "2.0")), say=said.append)

    assert isinstance(resolution, Resolution), resolution
    assert resolution.lock.packages[0].version == "2.0"
    assert said == []


@pytest.mark.index
def test_a_newer_version_that_does_not_build_is_not_silently_an_older_one(
    engine: Engine, base: Base, home: Path
) -> None:
    links = home / "links"
    write_source(links, "spec-source", "raise SystemExit('this never worked')", version="2.0")
    make_wheel(links, "spec-source", "1.0", requires=(), code="")
    here = settings_from_environment(os.environ)
    here = replace(here, find_links=(*here.find_links, str(links)), seconds=300, free_bytes=0)
    environments = Environments(engine, base, home / "store", here)

    failure = failed(environments.resolve(["spec-source"], None, listed=Listed("spec-source", ("1.0", "2.0"))))

    assert (failure.slug, failure.sources) == (InstallFault.NOT_BUILT, ("spec-source",)), failure.message


@pytest.mark.index
@pytest.mark.parametrize(
    ("setup", "slug"),
    [
        ("raise SystemExit('this never worked')", InstallFault.NOT_BUILT),
        ("open('requirements.txt')", InstallFault.NOT_BUILT),  # a file that the sources should bring
        ("import subprocess; subprocess.check_call(['hipcc'])", InstallFault.RECIPE),
    ],
    ids=["says so", "lacks a file", "wants a tool that the base lacks"],
)
def test_a_source_that_does_not_build_says_whose_fault_it_is(
    engine: Engine, base: Base, home: Path, setup: str, slug: InstallFault
) -> None:
    sources = home / "sources"
    write_source(sources, "spec-source", setup)
    here = settings_from_environment(os.environ)
    here = replace(here, find_links=(*here.find_links, str(sources)), seconds=300, free_bytes=0)
    environments = Environments(engine, base, home / "store", here)

    failure = failed(environments.resolve(["spec-source"], None))

    assert (failure.slug, failure.sources) == (slug, ("spec-source",)), failure.message
    assert failure.stage is Stage.INSTALL
    assert list((home / "store" / "work").iterdir()) == []
    beside = failed(environments.resolve(["packaging"], None, extra=["spec-source"]))
    assert (beside.slug, beside.sources) == (InstallFault.RECIPE, ("spec-source",))  # only this machine wants it


@pytest.mark.index
def test_the_index_as_it_was_on_a_day(engine: Engine, base: Base, home: Path) -> None:
    here = replace(settings_from_environment(os.environ), free_bytes=0)
    environments = Environments(engine, base, home / "store", here)

    def version(day: datetime) -> str:
        resolution = environments.resolve(["tqdm"], day)
        assert isinstance(resolution, Resolution), resolution
        return resolution.lock.packages[0].version

    assert version(datetime(2024, 11, 1, tzinfo=UTC)) == "4.66.6"
    assert version(datetime(2025, 3, 15, tzinfo=UTC)) == "4.67.1"
    # asked for by hand, and not there yet on that day
    early = failed(environments.resolve(["tqdm==4.67.1"], datetime(2024, 11, 1, tzinfo=UTC)))
    assert early.no_such_version
