"""What an engine is asked to run, what it answers, and the seam that Docker, Podman and plain processes share."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from threading import Event

# user 1000 is in no user database, and packages that ask who they are there end (`getpwuid(): uid not found`)
NAMED = {"USER": "settle", "LOGNAME": "settle"}


class Role(StrEnum):
    """Who a command is; each role has its own rights (network, user, what it may write)."""

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
class Limits:
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
    limits: Limits
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

    exit_code: int | None
    signal: int | None
    out_of_memory: bool
    timed_out: bool
    seconds: float
    peak_memory_bytes: int | None
    log: bytes
    log_dropped_bytes: int = 0
    engine_fault: str = ""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.engine_fault


def ending_signal(exit_code: int) -> int | None:
    """Decode a shell's exit code: 128 plus a signal that exists."""
    number = exit_code - 128
    return number if number in signal.valid_signals() else None


class Engine(Protocol):
    """Runs commands. Everything it starts carries ``settle.home=<home>`` so that a crash's leftovers can be swept."""

    name: str  # "docker" | "podman" | "process"
    isolated: bool  # False for the process engine

    def describe(self) -> str:
        """Version and what isolation is missing, as one sentence for people."""
        ...

    def run(self, command: Command, *, cancel: Event | None = None) -> Execution:
        """Run to the end, to a limit or until ``cancel`` is set; never raises for what the command does."""
        ...

    def stop(self) -> None:
        """End everything that this very process runs, from whatever thread, and start nothing more."""
        ...

    def sweep(self) -> list[str]:
        """Remove what an earlier process of this home left behind, and only that; return its names."""
        ...

    def close(self) -> None:
        """Let go of the engine's socket; nothing that runs is touched."""
        ...
