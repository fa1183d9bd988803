"""Which engine runs commands here: the requested one, or the first that answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from docker.errors import DockerException

from containers.docker_engine import DockerEngine
from containers.errors import EngineUnavailable
from containers.process_engine import ProcessEngine, find_bubblewrap

if TYPE_CHECKING:
    from containers.engine import Engine

Choice = Literal["auto", "docker", "podman", "process"]

HINTS = {
    "docker": "start it (`make engine` installs and starts it on Debian), allow this user to use its socket, "
    "or choose `--engine process`",
    "podman": "start its socket (`systemctl --user start podman.socket`), or choose `--engine process`",
}


def connect(choice: Choice, *, home: Path) -> Engine:
    """Return the engine; ``auto`` takes docker, then podman, then plain processes.

    A requested engine that does not answer raises ``EngineUnavailable``: falling back silently to a weaker isolation
    would mix two histories.
    """
    for name in {"auto": ("docker", "podman"), "process": ()}.get(choice, (choice,)):
        errors = []
        for address in _addresses(name):
            try:
                return DockerEngine(address, home=home)
            except (DockerException, OSError) as error:
                errors.append(f"{address}: {error}")
        if choice != "auto":
            reason = "; ".join(errors) or f"no {name} socket was found on this machine"
            raise EngineUnavailable(f"{name} does not answer: {reason}", hint=HINTS[name])
    return ProcessEngine(home=home, bubblewrap=find_bubblewrap())


def _addresses(name: str) -> list[str]:
    """Return where an engine listens: the address in the environment, else the usual sockets that exist."""
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
    # not Path.exists, which raises for a service that may not even look into /run/user
    return [f"unix://{socket}" for socket in sockets[name] if os.access(socket, os.F_OK)]
