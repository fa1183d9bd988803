"""An engine that dies in the middle of a run: ours, told as a value, and mended when it is back."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.docker_engine import DockerEngine
from containers.engine import Command, CommandLimits, Execution, Role
from tests.contract.proxy import SOCKET, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from containers.base import Base

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def kind() -> str:
    return "docker"


@pytest.fixture
def proxy(home: Path) -> Iterator[Proxy]:
    if not Path(SOCKET).exists():
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
        limits=CommandLimits(seconds=50, memory_bytes=64 << 20),
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
