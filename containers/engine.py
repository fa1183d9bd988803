"""What an engine is asked to run, what it answers, and the seam that Docker, Podman and plain processes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(StrEnum):
    """Who a command is; each role has its own rights (network, user, what it may write)."""

    INSTALLER = "installer"  # network; sees cache and environments; no subject
    BUILDER = "builder"  # network; sees neither cache nor environments
    PROBE = "probe"  # no network, no capabilities, non-root, read-only root


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path shown at ``target``; on the process engine ``target`` must equal ``source`` or is linked."""

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
    """How a command ended. ``engine_fault`` is ours: the engine died or refused, the command is not to blame."""

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


class Engine(Protocol):
    """Runs commands. Everything it starts carries ``settle.home=<home>`` so that a crash's leftovers can be swept."""

    name: str  # "docker" | "podman" | "process"
    isolated: bool  # False for the process engine

    def describe(self) -> str:
        """Version and what isolation is missing, as one sentence for people."""
        ...

    def run(self, command: Command) -> Execution:
        """Run to the end or to a limit; never raises for what the command does."""
        ...

    def sweep(self) -> list[str]:
        """Remove what an earlier process of this home left behind, and only that; return its names."""
        ...
