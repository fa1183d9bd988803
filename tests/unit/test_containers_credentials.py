"""Where code of packages runs, no user name, password or token of an index or a proxy is seen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from containers.base import Base
from containers.builder import BUILD, _Builder
from containers.engine import Execution
from containers.failures import InstallFault
from containers.installer import PackageInstaller
from containers.resolving import ResolveRequest
from containers.settings import InstallSettings, without_credentials

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from containers.engine import Command

SECRETS = ("alice", "sesame", "t0ken", "bob", "open%20it")
SETTINGS = InstallSettings(
    index_url="https://alice:sesame@index.example/simple",
    extra_index_urls=("https://t0ken@two.example/simple", "private=https://alice:sesame@three.example/simple"),
    find_links=("https://bob:open%20it@wheels.example/", "/opt/wheels"),
    http_proxy="http://bob:open%20it@proxy.example:3128",
    https_proxy="bob:open%20it@proxy.example:3128",
)


class Recorder:
    """An engine that notes what it is given, and ends as it is asked to."""

    name = "recorder"
    isolated = False
    mounts_read_only = False

    def __init__(self, execution: Execution) -> None:
        self.commands: list[Command] = []
        self._execution = execution

    def describe(self) -> str:
        return self.name

    def run(self, command: Command, *, cancel: threading.Event | None = None) -> Execution:
        assert cancel is not None
        self.commands.append(command)
        return self._execution

    def stop(self) -> None: ...
    def sweep(self) -> list[str]:
        return []

    def close(self) -> None: ...


def builder(root: Path, settings: InstallSettings, execution: Execution) -> tuple[_Builder, Recorder]:
    engine = Recorder(execution)
    installer = PackageInstaller(engine, Base("", "b", "3.11", sys.executable), root, settings)
    return _Builder(installer, ResolveRequest(("x",), None, ()), {"CMAKE_ARGS": "-DX=1"}), engine


def test_a_builder_is_given_addresses_alone(tmp_path: Path) -> None:
    build, engine = builder(tmp_path, SETTINGS, Execution(exit_code=0))
    build.run(BUILD, tmp_path)
    (command,) = engine.commands
    seen = repr((command.argv, sorted(command.env.items()), command.mounts))
    assert not [secret for secret in SECRETS if secret in seen]
    assert command.env["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert command.env["UV_INDEX"] == "https://two.example/simple private=https://three.example/simple"
    assert command.env["UV_FIND_LINKS"] == "https://wheels.example/,/opt/wheels"
    assert command.env["HTTPS_PROXY"] == command.env["https_proxy"] == "proxy.example:3128"
    assert command.env["HTTP_PROXY"] == "http://proxy.example:3128"


def test_an_address_without_credentials_stays_as_it_is() -> None:
    plain = without_credentials(SETTINGS)
    assert without_credentials(plain) == plain
    assert without_credentials(InstallSettings(find_links=("/home/a@b/wheels",))).find_links == ("/home/a@b/wheels",)


@pytest.mark.parametrize(
    "log",
    [
        "error: HTTP status client error (401 Unauthorized) for url (https://index.example/simple/x/)",
        "No solution found. hint: the index lacked valid authentication credentials (401 Unauthorized).",
        "error: Request failed after 3 retries",
    ],
)
def test_an_index_that_wants_credentials_of_a_builder_is_no_fault_of_the_package(tmp_path: Path, log: str) -> None:
    failed = Execution(exit_code=1, log=log.encode())
    failure = builder(tmp_path, SETTINGS, failed)[0].failure(failed)
    assert failure.slug in {InstallFault.INDEX, InstallFault.NETWORK}
    assert "a builder gets no credentials" in failure.message
    assert "credentials of" not in builder(tmp_path, InstallSettings(), failed)[0].failure(failed).message
