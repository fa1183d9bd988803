"""Processes as the kernel shows them: owners that a reused id cannot imitate, marked trees, and their memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

MARK = "SETTLE_PROCESS"  # inherited by everything a command starts, so a tree is known by it even after a crash of ours
PAGE = os.sysconf("SC_PAGE_SIZE")
KILL_ROUNDS = 50  # a process that forks while it is being killed needs more than one round
CGROUPS = Path("/sys/fs/cgroup")


def home_digest(home: Path) -> str:
    """Name a data directory on labels and in environments without its path."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]


def owner_token(pid: int | None = None) -> str:
    """Name a process so that after a reused id or a reboot no other process looks like the owner."""
    pid = os.getpid() if pid is None else pid
    boot = _text(Path("/proc/sys/kernel/random/boot_id"))[:8]
    return f"{pid}-{_started_at(pid) or 0}-{boot or 0}"


def owner_lives(token: str) -> bool:
    """Return whether the process that a token names still runs; a malformed token has no owner."""
    pid, _, _rest = token.partition("-")
    return pid.isdigit() and bool(_started_at(int(pid))) and owner_token(int(pid)) == token


def _started_at(pid: int) -> str:
    """Return the kernel's start time of a process in clock ticks, or ``""`` when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # the name in parentheses may itself hold spaces and parentheses
    return stat[stat.rindex(b")") + 2 :].split()[19].decode()


def _text(file: Path) -> str:
    """Return a file of the kernel, "" where it cannot be read: the process may have ended."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def marks() -> dict[int, str]:
    """Return the mark of every process that carries one in the environment it was started with, by process id."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return {pid: mark for pid in pids if (mark := _mark(pid))}


def kill_marked(mark: str) -> int:
    """Kill every process that carries this mark, until none is left; return how many there were."""
    killed: set[int] = set()
    for _round in range(KILL_ROUNDS):
        pids = [pid for pid, other in marks().items() if other == mark and pid != os.getpid()]
        if not pids:
            break
        for pid in pids:
            _kill(pid, mark)
        killed.update(pids)
    return len(killed)


def tree(root: int, *, at_most: int) -> list[int]:
    """Return a process and its descendants, cheaply: without reading all of /proc, and bounded for a fork bomb."""
    pids: list[int] = []
    waiting = [root]
    while waiting and len(pids) < at_most:
        pid = waiting.pop()
        pids.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, _text(task / "children").split())
    return pids


def resident_bytes(pids: list[int], *, worth_asking: int) -> int:
    """Return the memory a tree holds; pages shared between forks count once.

    The sum of what each holds is cheap and never too small. Sharing is looked up, which is not cheap, only when that
    sum exceeds ``worth_asking``.
    """
    total = sum(_resident(pid) for pid in pids)
    if total <= worth_asking or len(pids) == 1:
        return total
    return sum(_proportional(pid) for pid in pids)


def _mark(pid: int) -> str:
    prefix = f"{MARK}=".encode()
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    mark = next((variable for variable in variables if variable.startswith(prefix)), prefix)
    return mark.removeprefix(prefix).decode(errors="replace")


def _kill(pid: int, mark: str) -> None:
    # the descriptor names this very process: the id may be another's by now, so the mark is read again through it
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _mark(pid) == mark:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _resident(pid: int) -> int:
    with contextlib.suppress(ValueError, IndexError):
        return int(_text(Path(f"/proc/{pid}/statm")).split()[1]) * PAGE
    return 0


def _proportional(pid: int) -> int:
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid)


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A container's control group, version 1 or 2: the peak of its memory so far, and its kills."""

    peak_file: Path
    events_file: Path

    def peak_bytes(self) -> int | None:
        with contextlib.suppress(ValueError):
            return int(_text(self.peak_file))
        return None

    def kills(self) -> int:
        lines = _text(self.events_file).splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def memory_group(pid: int, container: str, *, proc: Path = Path("/proc"), root: Path = CGROUPS) -> MemoryGroup | None:
    """Find the memory group of a container by its first process.

    None where the process is not visible from here (an engine in another machine or process namespace): its process id
    would name another process here, so the group has to carry the container's id.
    """
    lines = _text(proc / str(pid) / "cgroup").splitlines()
    groups = {controllers: path for _number, controllers, path in (line.split(":", 2) for line in lines)}
    for controllers, path in groups.items():
        if "memory" in controllers.split(",") and container in path:
            folder = root / "memory" / path.lstrip("/")
            return MemoryGroup(folder / "memory.max_usage_in_bytes", folder / "memory.oom_control")
    if container in groups.get("", ""):
        folder = root / groups[""].lstrip("/")
        peak = folder / "memory.peak"
        # before Linux 5.19 there is no peak: then the highest of the samples has to do
        return MemoryGroup(peak if peak.exists() else folder / "memory.current", folder / "memory.events")
    return None
