"""Docker, and Podman through the same interface: the rights of a role, limits, and how a container ended."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import DockerException, NotFound
from docker.types import LogConfig, Ulimit
from docker.types import Mount as DockerMount

from containers.engine import HOME, USER_NAMES, BoundedLog, Command, CommandLimits, Execution, Role, ending_signal
from containers.images import Images
from containers.processes import MemoryGroup, home_digest, memory_group, owner_lives, owner_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# a request that fails in one of these ways shows a fault of the engine, not of the command
ENGINE_FAULTS = (DockerException, OSError, HTTPException)

USER = "1000:1000"
# The shell stays as process 1, because the kernel drops a signal that process 1 raises against itself (abort() would
# read as a segfault), and it keeps the output open until the end, so that the end of the output is the end of the run.
UNDER_A_SHELL = ("/bin/sh", "-c", '"$@"; exit "$?"', "sh")
OPEN_FILES = 16384
PROCESSES = 16384  # of one user, over all containers; each container has a smaller limit
REQUEST_SECONDS = 120  # a busy machine needs a while to create a container; a dead engine refuses at once
SAMPLE_SECONDS = 0.05
SETTLE_SECONDS = 30.0  # for the engine to notice that a container has ended


class DockerEngine:
    """One engine behind one socket; safe to use from several threads."""

    isolated = True
    mounts_read_only = True

    def __init__(self, address: str, *, home: Path) -> None:
        """Connect to ``unix:///...``; raises ``DockerException`` or ``OSError`` when nothing answers there."""
        _knock(address)
        client = docker.APIClient(base_url=address, version="auto", timeout=REQUEST_SECONDS)
        try:
            version = client.version()
            info = client.info()
        except BaseException:
            client.close()
            raise
        self._client = client
        self._home = home_digest(home)
        components = [component["Name"] for component in version.get("Components") or ()]
        self.name = "podman" if any("Podman" in name for name in components) else "docker"
        self._version = version["Version"]
        self._cpus = float(info.get("NCPU") or 1)
        options = info.get("SecurityOptions") or ()
        self._rootless = any("rootless" in option for option in options)
        self._selinux = any("selinux" in option for option in options)
        self.images = Images(client, address)
        self._stopped = False
        self._lost: set[str] = set()  # our containers that the engine failed to remove

    def describe(self) -> str:
        rootless = ", rootless" if self._rootless else ""
        return f"{self.name} {self._version}{rootless}: all probes and installations run in containers"

    def close(self) -> None:
        self._client.close()

    def run(
        self, command: Command, *, cancel: threading.Event | None = None, commit_to: str | None = None
    ) -> Execution:
        began = time.monotonic()
        log = BoundedLog(command.limits.log_bytes)
        container = ""
        try:
            container = self._create(command, extending=commit_to is not None)
            if self._stopped:  # after the creation: a container that stop() did not find is removed here
                raise DockerException("stopped before the command began")
            execution = self._follow(container, command, log, began, cancel=cancel or threading.Event())
            if commit_to is not None and execution.ok:
                repository, _, tag = commit_to.partition(":")
                self._client.commit(container, repository=repository, tag=tag)
            return execution  # noqa: TRY300 -- the commit may fail, too
        except ENGINE_FAULTS as error:
            return Execution(
                seconds=time.monotonic() - began,
                log=log.text(),
                log_dropped_bytes=log.dropped_bytes,
                engine_fault=f"{self.name}: {type(error).__name__}: {error}",
            )
        finally:
            self._remove(container)

    def extend(
        self, image: str, argv: Sequence[str], *, env: Mapping[str, str], limits: CommandLimits, reference: str
    ) -> Execution:
        """Run as root in a container with the daemon's network, and commit its root as an image."""
        return self.run(Command(tuple(argv), Role.INSTALLER, limits, image=image, env=env), commit_to=reference)

    def stop(self) -> None:
        self._stopped = True
        labels = [f"settle.home={self._home}", f"settle.owner={owner_token()}"]
        with contextlib.suppress(*ENGINE_FAULTS):  # an engine that does not answer: the next start sweeps
            for container in self._client.containers(all=True, filters={"label": labels}):
                self._remove(container["Id"])

    def sweep(self) -> list[str]:
        """Remove the containers of this home whose owner is gone, and ours that could not be removed before."""
        removed: list[str] = []
        try:
            containers = self._client.containers(all=True, filters={"label": f"settle.home={self._home}"})
        except ENGINE_FAULTS:
            return removed  # an engine that does not answer removes nothing now
        for container in containers:
            if container["Id"] in self._lost or not owner_lives(container["Labels"].get("settle.owner", "")):
                self._remove(container["Id"])
                removed.append(f"container {container['Id'][:12]} ({container['Labels'].get('settle.role', '?')})")
        return removed

    def _create(self, command: Command, *, extending: bool = False) -> str:
        """Create the container; one that extends an image runs as root, with root's capabilities."""
        limits = command.limits
        host = self._client.create_host_config(
            mounts=[
                DockerMount(mount.target, str(mount.source), type="bind", read_only=not mount.writable)
                for mount in command.mounts
            ],
            tmpfs=None if extending else _tmpfs(command),
            network_mode=_network(command.role),
            cap_drop=None if extending else ["ALL"],
            security_opt=["no-new-privileges:true", *(["label=disable"] if self._selinux else [])],
            read_only=not extending,
            mem_limit=limits.memory_bytes,
            memswap_limit=limits.memory_bytes,
            nano_cpus=int(min(limits.cpus, self._cpus) * 1e9),
            pids_limit=limits.pids,
            shm_size=limits.shm_bytes,
            ulimits=self._ulimits(),
            # the output reaches us through the attached stream and is bounded there: nothing is written to disk
            log_config=LogConfig(type="none"),
        )
        created = self._client.create_container(
            image=command.image,
            entrypoint=list(UNDER_A_SHELL),
            command=list(command.argv),
            user="0:0" if extending else self._user(command.role),
            working_dir="/tmp",  # noqa: S108 - inside the container, where it is a tmpfs
            environment={"HOME": "/root" if extending else HOME, "LANG": "C.UTF-8", **USER_NAMES, **command.env},
            labels={
                **command.labels,
                "settle.home": self._home,
                "settle.role": str(command.role),
                "settle.owner": owner_token(),
                "settle.owner_pid": str(os.getpid()),
            },
            host_config=host,
        )
        return str(created["Id"])

    def _ulimits(self) -> list[Ulimit]:
        """Set the limits explicitly: podman's defaults are higher than some machines allow."""
        limits = {"core": 0, "nofile": OPEN_FILES}
        if self.name == "podman":  # docker sets no default, and a limit counts the processes of all containers together
            limits["nproc"] = PROCESSES
        return [Ulimit(name=name, soft=limit, hard=limit) for name, limit in limits.items()]

    def _user(self, role: Role) -> str:
        if role is not Role.INSTALLER:
            return USER
        # with a rootless engine the container's root is the very user we are
        return "0:0" if self._rootless else f"{os.getuid()}:{os.getgid()}"

    def _follow(
        self, container: str, command: Command, log: BoundedLog, began: float, *, cancel: threading.Event
    ) -> Execution:
        deadline = began + command.limits.seconds
        timed_out = False
        with self._attached(container) as stream:
            reader = threading.Thread(target=_drain, args=(stream, log), name="container-log", daemon=True)
            reader.start()
            self._client.start(container)
            group = memory_group(self._client.inspect_container(container)["State"]["Pid"], container)
            peak, kills = _watch(reader, group, deadline, cancel)
            if reader.is_alive():
                timed_out = not cancel.is_set()
                with contextlib.suppress(DockerException):  # it may have ended just now
                    self._client.kill(container)
                reader.join(SETTLE_SECONDS)
        self._client.wait(container, timeout=int(max(SETTLE_SECONDS, deadline - time.monotonic())))
        state: dict[str, Any] = self._client.inspect_container(container)["State"]
        code = int(state["ExitCode"])
        return Execution(
            exit_code=code,
            signal=ending_signal(code),
            out_of_memory=code != 0 and not timed_out and (bool(state.get("OOMKilled")) or kills > 0),
            timed_out=timed_out,
            seconds=time.monotonic() - began,
            peak_memory_bytes=peak,
            log=log.text(),
            log_dropped_bytes=log.dropped_bytes,
            engine_fault=str(state.get("Error") or ""),
        )

    @contextlib.contextmanager
    def _attached(self, container: str) -> Any:
        stream = self._client.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
        try:
            # the request's own time limit would end the stream of a program that is silent for a minute
            os.set_blocking(stream.fileno(), True)
            yield stream
        finally:
            # the SDK keeps the response on its stream, and only the response releases the connection
            response = getattr(stream, "_response", None)
            (response or stream).close()

    def _remove(self, container: str) -> None:
        if not container:
            return
        try:
            self._client.remove_container(container, force=True, v=True)
        except NotFound:
            pass
        except ENGINE_FAULTS:
            self._lost.add(container)
            return
        self._lost.discard(container)


def _knock(address: str) -> None:
    """Fail cheaply where no engine listens: the SDK's attempt leaves its connections open."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(address.removeprefix("unix://"))


def _network(role: Role) -> str:
    if role is Role.PROBE:
        return "none"
    # An installer runs no code of what it installs, and needs the daemon's network: mirrors and proxies on the loopback
    # device included. A builder runs code of packages, so it stays behind the bridge.
    return "host" if role is Role.INSTALLER else "bridge"


def _tmpfs(command: Command) -> dict[str, str]:
    options = f"rw,nosuid,nodev,exec,mode=1777,size={command.limits.tmpfs_bytes}"
    mounts = {"/tmp": options, HOME: options}  # noqa: S108 - inside the container
    if any(mount.target.startswith("/root/") for mount in command.mounts):
        # images close /root to other users, and a daemon that runs as root keeps its files below it
        mounts["/root"] = "rw,nosuid,nodev,mode=0755,size=1m"
    return mounts


def _watch(
    reader: threading.Thread, group: MemoryGroup | None, deadline: float, cancel: threading.Event
) -> tuple[int | None, int]:
    """Sample memory until the output ends or the time is over: the group is gone a moment after its last process."""
    peak: int | None = None
    kills = 0
    while reader.is_alive() and not cancel.is_set() and (left := deadline - time.monotonic()) > 0:
        if group is not None:
            peak = max(filter(None, (peak, group.peak_bytes())), default=None)
            kills = max(kills, group.kills())
        reader.join(min(SAMPLE_SECONDS, left))
    return peak, kills


def _drain(stream: Any, log: BoundedLog) -> None:
    """Read the frames of the attached stream until it ends."""
    descriptor = stream.fileno()
    buffer = bytearray()
    with contextlib.suppress(OSError):
        while chunk := os.read(descriptor, 1 << 16):
            buffer += chunk
            while len(buffer) >= 8 and len(buffer) >= (end := 8 + int.from_bytes(buffer[4:8], "big")):  # noqa: PLR2004 - a frame's header: stream, three zeros, length in four bytes
                log.write(bytes(buffer[8:end]))
                del buffer[:end]
