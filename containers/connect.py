"""Which engine runs things here: the one that was named, or the first that answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from docker.errors import DockerException

from containers.bubblewrap import find_bubblewrap
from containers.docker_engine import DockerEngine
from containers.errors import EngineUnavailable
from containers.process_engine import ProcessEngine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from containers.engine import Engine

Choice = Literal["auto", "docker", "podman", "process"]

HINTS = {
    "docker": "start it (`make engine` installs and starts it on Debian), allow this user to use its socket, "
    "or choose `--engine process`",
    "podman": "start its socket (`systemctl --user start podman.socket`), or choose `--engine process`",
}


def connect(choice: Choice, *, home: Path) -> Engine:
    """Return the engine; ``auto`` takes docker, then podman, then plain processes.

    An engine that was named and does not answer is an ``EngineUnavailable``: falling back silently to a weaker
    isolation would mix two histories.
    """
    if choice == "process":
        return ProcessEngine(home=home, bubblewrap=find_bubblewrap())
    for name in ("docker", "podman") if choice == "auto" else (choice,):
        engine, _why = _first_that_answers(name, home)
        if engine is not None:
            return engine
    if choice == "auto":
        return ProcessEngine(home=home, bubblewrap=find_bubblewrap())
    _engine, why = _first_that_answers(choice, home)
    raise EngineUnavailable(f"{choice} does not answer: {why}", hint=HINTS[choice])


def _first_that_answers(name: str, home: Path) -> tuple[DockerEngine | None, str]:
    why = []
    for address in _addresses(name):
        try:
            return DockerEngine(address, home=home), ""
        except (DockerException, OSError) as error:
            why.append(f"{address}: {error}")
    return None, "; ".join(why) or "no socket of it is here"


def _addresses(name: str) -> Iterable[str]:
    """Where an engine listens: what the environment names, else the usual sockets that exist."""
    named = os.environ.get("DOCKER_HOST" if name == "docker" else "CONTAINER_HOST")
    if named:
        return [named]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    sockets = {
        "docker": [
            Path("/var/run/docker.sock"),
            runtime / "docker.sock",
            Path(os.environ.get("HOME", "/")) / ".docker/run/docker.sock",
        ],
        "podman": [runtime / "podman/podman.sock", Path("/run/podman/podman.sock")],
    }
    return [f"unix://{socket}" for socket in sockets[name] if _is_there(socket)]


def _is_there(socket: Path) -> bool:
    try:
        return socket.exists()
    except OSError:  # a service is kept from even looking into /run/user
        return False
