"""Which source archive is meant, where it is unpacked, and what a base lacks: worked out without any of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from packaging.requirements import Requirement
from pypi_simple import DistributionPackage

from containers.base import missing_packages
from containers.lock import parse_lock
from containers.recipe import source_shape
from containers.recipes import RECIPES
from monitor.sources.index import source_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SHA = "0" * 64


def package(version: str, day: str, **changes: Any) -> DistributionPackage:
    name = f"llama_cpp_python-{version}"
    fields: dict[str, Any] = {
        "filename": f"{name}.tar.gz",
        "url": f"https://files.example/{name}.tar.gz",
        "project": "llama-cpp-python",
        "version": version,
        "package_type": "sdist",
        "digests": {"sha256": SHA},
        "requires_python": None,
        "has_sig": None,
        "upload_time": datetime.fromisoformat(f"{day}T00:00:00+00:00"),
    }
    return DistributionPackage(**{**fields, **changes})


PACKAGES = [
    package("0.3.9", "2025-05-08"),
    package("0.3.10", "2025-07-03"),
    package("0.3.16", "2025-08-15", is_yanked=True),
    package("0.4.0rc1", "2026-01-01"),
    package("0.3.22", "2026-05-02", digests={}),
    package("0.3.23", "2026-05-11", package_type="wheel", filename="llama_cpp_python-0.3.23-py3-none-any.whl"),
    package("0.3.24", "2026-07-01"),
]


@pytest.mark.parametrize(
    ("asked", "pinned", "version"),
    [
        ("llama-cpp-python", "", "0.3.10"),  # the newest by then that is stable, not yanked, and has a hash
        ("llama-cpp-python", "0.3.9", "0.3.9"),  # what is installed
        ("llama-cpp-python", "0.3.24", "0.3.24"),  # though its sources came an hour after its wheel
        ("llama-cpp-python", "0.3.23", ""),
        ("llama-cpp-python<0.3.10", "", "0.3.9"),
    ],
)
def test_the_sources_of_what_is_installed_or_the_newest_of_the_day(asked: str, pinned: str, version: str) -> None:
    found = source_of(PACKAGES, Requirement(asked), pinned, cutoff=NOW)
    assert (found.version if found else "") == version


def test_only_python_files_are_unpacked_and_only_of_the_archive_that_was_meant() -> None:
    shape = source_shape("https://files.example/ab/cd/xllamacpp-0.2.5.tar.gz#sha256=00")
    assert shape.wanted == "xllamacpp-0.2.5/PKG-INFO"
    assert "*.py" in shape.kept


def test_sources_lie_beside_an_environment_and_belong_to_its_digest() -> None:
    text = f"artefact sources/xllamacpp==0.2.5 @ https://files.example/x.tar.gz --hash=sha256:{SHA}\n"
    lock = parse_lock(text, base_digest="b")
    assert lock.artefacts[0].place == "share/sources/xllamacpp"
    assert (
        parse_lock(text.replace("xllamacpp", "ollama").replace("sources/", ""), base_digest="b").artefacts[0].place
        == "."
    )
    assert lock.digest != parse_lock(text.replace(SHA, "1" * 64), base_digest="b").digest
    assert lock.requirements == ""  # an installer of packages reads none of it


def test_every_recipe_names_sources_as_requirements() -> None:
    for recipe in RECIPES.values():
        for text in recipe.sources:
            assert Requirement(text).name


def test_a_package_counts_as_there_only_once_it_is_installed() -> None:
    listed = "libc6:amd64 installed\ng++ installed\ncmake config-files\nninja-build half-installed\n"
    assert missing_packages(["cmake", "g++", "libc6", "libnuma1", "ninja-build"], listed) == [
        "cmake",
        "libnuma1",
        "ninja-build",
    ]
