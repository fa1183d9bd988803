"""Which base is taken, and what is said when the engine that should have it goes away."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import docker
import pytest

from containers.base import ensure_base
from containers.engine import Command, Execution
from containers.errors import EngineUnavailable
from containers.images import Images
from containers.settings import InstallSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DESCRIBED = {"packages": [], "python": "3.11.9", "libc": ["glibc", "2.36"], "machine": "m", "interpreter": "/bin/p"}


class Fixed(Images):
    """Images as a table of references and ids; nothing can be pulled."""

    def __init__(self, ids: dict[str, str]) -> None:
        self.ids = ids
        self.asked_for: list[str] = []

    def find(self, reference: str) -> str:
        return self.ids.get(reference, "")

    def named(self, repository: str) -> list[str]:
        return [reference for reference in self.ids if reference.startswith(f"{repository}:")]

    def pull(self, reference: str) -> str:
        self.asked_for.append(reference)
        return "no registry here"

    def tag(self, image: str, *, repository: str, tag: str) -> None:
        self.ids[f"{repository}:{tag}"] = self.ids[image]


@dataclass
class Describing:
    """An engine whose images say what they are, each by its id, after ``before``."""

    images: Fixed
    before: str = ""
    name: str = "docker"
    isolated: bool = True
    mounts_read_only: bool = True
    ran: list[str] = field(default_factory=list)

    def run(self, command: Command, *, cancel: threading.Event | None = None) -> Execution:  # noqa: ARG002 - the seam's signature
        self.ran.append(command.image)
        said = json.dumps({**DESCRIBED, "packages": [self.images.ids[command.image]]})
        return Execution(0, None, False, False, 0.1, None, f"{self.before}{said}\n".encode())

    def describe(self) -> str:
        return self.name

    def stop(self) -> None:
        raise NotImplementedError

    def sweep(self) -> list[str]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def test_a_warning_beside_the_description_does_no_harm(tmp_path: Path) -> None:
    engine = Describing(Fixed({"mine:1": "one"}), before="WARNING: {no swap limit}\n[1]\n")

    base = ensure_base(engine, settings=InstallSettings(base_image="mine:1"), home=tmp_path, progress=pytest.fail)

    assert base.interpreter == "/bin/p"


def test_the_configured_image_is_taken_and_not_what_another_home_has_made(tmp_path: Path) -> None:
    images = Fixed({"mine:1": "one", "other:1": "two"})
    engine = Describing(images)
    other = ensure_base(
        engine, settings=InstallSettings(base_image="other:1"), home=tmp_path / "b", progress=pytest.fail
    )

    mine = ensure_base(engine, settings=InstallSettings(base_image="mine:1"), home=tmp_path / "a", progress=pytest.fail)

    assert images.ids[mine.image] == "one"
    assert images.ids[other.image] == "two"
    assert images.asked_for == []


def test_what_another_home_has_made_serves_where_the_configured_image_is_nowhere(tmp_path: Path) -> None:
    images = Fixed({"mine:1": "one"})
    engine = Describing(images)
    made = ensure_base(engine, settings=InstallSettings(base_image="mine:1"), home=tmp_path / "a", progress=pytest.fail)
    del images.ids["mine:1"]
    said: list[str] = []

    found = ensure_base(
        engine, settings=InstallSettings(base_image="mine:1"), home=tmp_path / "b", progress=said.append
    )
    free = ensure_base(engine, settings=InstallSettings(base_image=""), home=tmp_path / "c", progress=pytest.fail)

    assert found == free == made
    assert images.asked_for == ["mine:1"]
    assert said == [
        "pulling the base image mine:1",
        "mine:1 cannot be pulled (no registry here)",
        f"using {made.image} instead, which was built for another data directory",
    ]


@pytest.fixture
def gone() -> Iterator[Images]:
    """Lend the images of an engine that has gone away after the connection."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    address = f"tcp://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    client = docker.APIClient(base_url=address, version="1.41", timeout=5)
    server.shutdown()
    server.server_close()
    yield Images(client, address)
    client.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda images: images.find("mine:1"),
        lambda images: images.named("mine"),
        lambda images: images.tag("mine:1", repository="mine", tag="2"),
        lambda images: images.untag("mine:1"),
    ],
    ids=["find", "named", "tag", "untag"],
)
def test_an_engine_that_has_gone_away_is_said(gone: Images, call: Callable[[Images], object]) -> None:
    with pytest.raises(EngineUnavailable, match="does not answer any more") as caught:
        call(gone)
    assert "settle doctor" in caught.value.hint
