"""An environment that was built is held to its lock and to what its packages ask of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from containers.engine import Execution
from containers.environments import NOT_CONSISTENT, verified
from containers.failures import InstallFailure, InstallFault, InstallStage
from containers.lock import parse_lock

if TYPE_CHECKING:
    from pathlib import Path

LOCK = parse_lock("spec-a==1.0 --hash=sha256:aa", base_digest="base")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    installed(tmp_path, "spec_a-1.0", b"Metadata-Version: 2.1\nName: spec-a\nVersion: 1.0\n")
    return tmp_path


def installed(build: Path, stem: str, metadata: bytes) -> None:
    info = build / "lib/python3.11/site-packages" / f"{stem}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_bytes(metadata)


def ended(exit_code: int, said: str = "") -> Execution:
    return Execution(exit_code, None, False, False, 1.0, None, said.encode())


def failed(result: InstallFailure | None) -> InstallFailure:
    assert isinstance(result, InstallFailure)
    return result


def test_what_is_as_it_should_be_is_no_failure(build: Path) -> None:
    assert verified(ended(0), LOCK, build, allowed=()) is None


@pytest.mark.parametrize(
    "line",
    [
        "The package `spec-a` requires Python >=3.99, but `3.11.7` is installed",
        "The package `spec-a` requires `dd`, but it's not installed",
        "The package `spec-a` was built for a different platform",
        "The package `spec-a` has multiple installed distributions: ",
        "The package `spec-a` is broken or incomplete (unable to read `METADATA`). Consider recreating the virtualenv",
    ],
)
def test_every_complaint_of_the_check_is_a_finding(build: Path, line: str) -> None:
    excused = "The package `spec-a` requires `triton`, but it's not installed\n"
    said = f"Checked 2 packages in 1ms\nFound 2 incompatibilities\n{excused}{line}\n"

    failure = failed(verified(ended(NOT_CONSISTENT, said), LOCK, build, allowed=["triton ; python_version < '1'"]))

    assert (failure.stage, failure.slug) == (InstallStage.VERIFY, InstallFault.INCONSISTENT)
    assert failure.message == line.strip()
    assert verified(ended(NOT_CONSISTENT, excused), LOCK, build, allowed=["triton"]) is None


def test_a_check_that_fails_without_a_word_we_know_is_ours(build: Path) -> None:
    failure = failed(verified(ended(NOT_CONSISTENT, "error: no interpreter\n"), LOCK, build, allowed=()))

    assert failure.slug is InstallFault.RECIPE
    assert "no interpreter" in failure.message


@pytest.mark.parametrize("exit_code", [0, NOT_CONSISTENT])
def test_other_packages_than_the_locks_are_ours(build: Path, exit_code: int) -> None:
    installed(build, "spec_b-2.0", b"Metadata-Version: 2.1\nName: spec-b\nVersion: 2.0\n")

    failure = failed(verified(ended(exit_code, "The package `spec-b` requires `c`, but"), LOCK, build, allowed=()))

    assert failure.slug is InstallFault.RECIPE
    assert failure.message == "spec-b 2.0 is installed but not in the lock"


@pytest.mark.parametrize("metadata", [b"\xff\xfe garbage", b"", b"no header at all"])
def test_metadata_that_nobody_can_read_is_the_packages_fault(tmp_path: Path, metadata: bytes) -> None:
    installed(tmp_path, "spec_a-1.0", metadata)
    said = "The package `spec-a` is broken or incomplete (unable to read `METADATA`)."

    assert failed(verified(ended(NOT_CONSISTENT, said), LOCK, tmp_path, allowed=())).slug == "inconsistent"


def test_a_package_without_metadata_has_its_folders_name(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.11/site-packages/spec_a-1.0.dist-info").mkdir(parents=True)

    assert verified(ended(0), LOCK, tmp_path, allowed=()) is None


def test_a_package_that_is_known_to_be_mislabelled_is_no_contradiction(build: Path) -> None:
    said = (
        "Checked 2 packages in 1ms\nFound 1 incompatibility\nThe package `spec-a` was built for a different platform\n"
    )

    assert verified(ended(NOT_CONSISTENT, said), LOCK, build, allowed=["spec_a"]) is None
    assert (
        failed(verified(ended(NOT_CONSISTENT, said), LOCK, build, allowed=["spec-b"])).slug is InstallFault.INCONSISTENT
    )
