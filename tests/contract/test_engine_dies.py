"""An engine that dies in the middle of a run: ours, told as a value, and mended when it is back."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from containers.docker_engine import DockerEngine
from containers.engine import Command, Execution, Limits, Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from containers.base import Base

pytestmark = [pytest.mark.engine, pytest.mark.slow]


class Proxy:
    """A socket in front of the engine's that can be cut and mended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = True
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                if not self._whole:
                    here.close()
                    continue
                there = socket.socket(socket.AF_UNIX)
                there.connect("/var/run/docker.sock")
                self._open += [here, there]
                threading.Thread(target=_pump, args=(here, there), daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listener.close()


def _pump(here: socket.socket, there: socket.socket) -> None:
    other = {here: there, there: here}
    with here, there, contextlib.suppress(OSError, ValueError):
        while True:
            for ready in select.select([here, there], [], [])[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                other[ready].sendall(data)


@pytest.fixture
def kind() -> str:
    return "docker"


@pytest.fixture
def proxy(home: Path) -> Iterator[Proxy]:
    if not os.path.exists("/var/run/docker.sock"):  # noqa: PTH110 - the same question the engine asks
        if os.environ.get("CI") == "true":
            pytest.fail("docker does not answer")
        pytest.skip("docker does not answer")
    proxy = Proxy(home / "engine.sock")
    yield proxy
    proxy.close()


@pytest.mark.parametrize("when", ["before", "while it runs"])
def test_the_engine_dies(proxy: Proxy, base: Base, home: Path, when: str) -> None:
    engine = DockerEngine(f"unix://{proxy.path}", home=home)
    command = Command(
        argv=("/bin/sh", "-c", "echo alive; sleep 60"),
        role=Role.PROBE,
        image=base.image,
        limits=Limits(seconds=50, memory_bytes=64 << 20),
    )
    answers: list[Execution] = []
    if when == "before":
        proxy.cut()
        answers.append(engine.run(command))
    else:
        thread = threading.Thread(target=lambda: answers.append(engine.run(command)))
        thread.start()
        time.sleep(3)
        proxy.cut()
        thread.join(30)

    (execution,) = answers
    assert execution.engine_fault.startswith("docker: ")
    assert not execution.ok
    assert execution.exit_code is None
    assert execution.seconds < 30
    assert execution.log == (b"" if when == "before" else b"alive\n")

    assert engine.sweep() == []  # nothing can be known while it is away
    proxy.mend()
    assert len(engine.sweep()) == (0 if when == "before" else 1)
    assert engine.sweep() == []
    engine.close()
