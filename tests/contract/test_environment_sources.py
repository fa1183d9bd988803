"""What an environment is made of: wheels, sources built on the way, the newest that is listed, and a past day."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from containers.builder import ListedVersions
from containers.environments import Environments
from containers.failures import InstallFault, InstallStage
from containers.resolving import Resolution
from containers.settings import settings_from_environment
from tests.contract.conftest import make_wheel
from tests.contract.envs import built, failed, locked, python
from tests.specimens.packages import write_source

if TYPE_CHECKING:
    from pathlib import Path

    from containers.base import Base
    from containers.engine import Engine
    from tests.contract.conftest import Index

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.mark.index
def test_a_wheel_from_source_enters_by_its_hash(engine: Engine, base: Base, home: Path) -> None:
    sources = home / "sources"
    write_source(sources, "spec-source")
    here = settings_from_environment(os.environ)
    here = replace(here, find_links=(*here.find_links, str(sources)), seconds=300, free_bytes=0)
    environments = Environments(engine, base, home / "store", here)

    day = datetime(2025, 3, 15, tzinfo=UTC)
    said: list[str] = []
    resolution = environments.resolve(["spec-source"], day, progress=said.append)
    assert isinstance(resolution, Resolution), resolution
    (wheel,) = (home / "store" / "wheels").glob("*/*.whl")
    assert resolution.lock.packages[0].hashes == (f"sha256:{wheel.parent.name}",)
    assert said[0].startswith("spec-source has no wheel: building it from source")
    assert said[1:] == ["built spec_source-1.0-py3-none-any.whl from source"]
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
        resolution = environments.resolve(
            ["spec-source"], None, listed=ListedVersions("spec-source", listed), progress=said.append
        )
        assert isinstance(resolution, Resolution), resolution
        return resolution.lock.packages[0].version

    assert (version("1.0"), said) == ("1.0", [])  # nothing newer is listed, and nothing more is asked
    assert version("1.0", "2.0") == "2.0"
    assert said[0] == "spec-source 2.0 is listed, but the resolver skipped it: trying to build it"
    assert said[-1] == "built spec_source-2.0-py3-none-any.whl from source"

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

    resolution = environments.resolve(
        ["spec-a"], None, listed=ListedVersions("spec-a", ("1.0", "2.0")), progress=said.append
    )

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

    failure = failed(environments.resolve(["spec-source"], None, listed=ListedVersions("spec-source", ("1.0", "2.0"))))

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
    assert failure.stage is InstallStage.INSTALL
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
