"""The seam that Docker, Podman and plain processes share: a command, its limits, and how it ended."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from threading import Event

HOME = "/home/settle"  # of a command, inside its container or sandbox
# user 1000 is in no user database, and packages that look it up there fail (`getpwuid(): uid not found`)
USER_NAMES = {"USER": "settle", "LOGNAME": "settle"}


class Role(StrEnum):
    """What a command is for; each role has its rights (network, user, what it may write)."""

    INSTALLER = "installer"  # network; sees cache and environments; no subject
    BUILDER = "builder"  # network; sees neither cache nor environments
    PROBE = "probe"  # no network, no capabilities, non-root, read-only root


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path shown at ``target``.

    A probe and a builder run as user 1000, so what they may write must be writable for others (mode 0777). Without
    bubblewrap the process engine can show a path only where it lies: there ``target`` must equal ``source``.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class CommandLimits:
    seconds: float
    memory_bytes: int
    cpus: float = 2.0
    pids: int = 512
    log_bytes: int = 4 << 20  # head and tail are kept, the middle of a flood is dropped and counted
    tmpfs_bytes: int = 1 << 30
    shm_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    role: Role
    limits: CommandLimits
    image: str = ""  # empty on the process engine
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Execution:
    """How a command ended. ``engine_fault`` is ours: the engine died or refused, the command is not to blame.

    A death by signal keeps the shell's number (139) as ``exit_code`` beside the ``signal`` (11). ``out_of_memory`` says
    that something was killed for memory and the command failed; a kill that the command itself survived is not its end.
    """

    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    log: bytes = b""
    log_dropped_bytes: int = 0
    engine_fault: str = ""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.engine_fault

    @property
    def text(self) -> str:
        return self.log.decode(errors="replace")

    def record(self, key: str = "") -> dict[str, Any]:
        """Return the last JSON object with this key in the log, or {}: warnings and output come in any order."""
        for line in reversed(self.text.splitlines()):
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and (not key or key in record):
                    return record
        return {}


def ending_signal(exit_code: int) -> int | None:
    """Decode a shell's exit code: 128 plus a signal that exists."""
    number = exit_code - 128
    return number if number in signal.valid_signals() else None


class BoundedLog:
    """Keeps the first and the last half of ``limit`` bytes; what drops out of the middle is counted, never stored.

    The head holds what a program announced, the tail how it died: a flood between the two adds nothing.
    """

    def __init__(self, limit: int) -> None:
        self._head = bytearray()
        self._head_limit = limit // 2
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._tail_limit = limit - self._head_limit
        self._dropped = 0

    def write(self, chunk: bytes) -> None:
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            dropped = len(self._tail.popleft())
            self._tail_bytes -= dropped
            self._dropped += dropped

    def _cut_tail(self) -> tuple[bytes, int]:
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - self._tail_limit)
        return tail[cut:], self._dropped + cut

    @property
    def dropped_bytes(self) -> int:
        return self._cut_tail()[1]

    def text(self) -> bytes:
        """Return head and tail, with one line between them where bytes were dropped."""
        tail, dropped = self._cut_tail()
        if not dropped:
            return bytes(self._head) + tail
        return bytes(self._head) + f"\n[settle: {dropped} bytes of output dropped here]\n".encode() + tail


class Engine(Protocol):
    """Runs commands. Everything it starts carries ``settle.home=<home>``, so that ``sweep`` finds it after a crash."""

    name: str  # "docker" | "podman" | "process"
    isolated: bool  # False for the process engine
    mounts_read_only: bool  # whether a probe is kept from writing into its environment

    def describe(self) -> str:
        """Return the version and the isolation that is missing, as one sentence for people."""
        ...

    def run(self, command: Command, *, cancel: Event | None = None) -> Execution:
        """Run to the end, to a limit or until ``cancel`` is set; a command that fails raises nothing."""
        ...

    def stop(self) -> None:
        """End everything that this process runs, on every thread, and start nothing more."""
        ...

    def sweep(self) -> list[str]:
        """Remove what an earlier process of this home left behind, and only that; return its names."""
        ...

    def close(self) -> None:
        """Close the engine's socket; what runs goes on."""
        ...
