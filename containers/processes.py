"""Process trees as the kernel tells them: who belongs to a mark, how much memory they hold, an end to all of them."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "SETTLE_PROCESS"  # inherited by everything a command starts, so a tree is known by it even after a crash of ours
PAGE = os.sysconf("SC_PAGE_SIZE")
KILL_ROUNDS = 50  # a process that forks while it is being killed needs more than one round


@dataclass(frozen=True, slots=True)
class Marked:
    pid: int
    mark: str


def marked() -> Iterator[Marked]:
    """Find every process that carries a mark of ours in the environment it was started with."""
    prefix = f"{MARK}=".encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (mark := _mark(int(entry.name), prefix)):
            yield Marked(int(entry.name), mark)


def kill_marked(mark: str) -> int:
    """Kill every process that carries this mark, until none is left; return how many there were."""
    killed: set[int] = set()
    for _round in range(KILL_ROUNDS):
        found = [process.pid for process in marked() if process.mark == mark and process.pid != os.getpid()]
        if not found:
            break
        for pid in found:
            _kill(pid, mark)
        killed.update(found)
    return len(killed)


def tree(root: int, *, at_most: int) -> list[int]:
    """Return a process and its descendants, cheaply: without reading all of /proc, or losing to a fork bomb."""
    found: list[int] = []
    waiting = [root]
    while waiting and len(found) < at_most:
        pid = waiting.pop()
        found.append(pid)
        for task in _tasks(pid):
            with contextlib.suppress(OSError):
                waiting += map(int, task.joinpath("children").read_text(encoding="ascii").split())
    return found


def resident_bytes(pids: list[int], *, worth_asking: int) -> int:
    """Return the memory a tree holds; pages shared between forks count once.

    The sum of what each holds is cheap and never too small. Sharing is looked up, which is not cheap, only when that
    sum exceeds ``worth_asking``.
    """
    total = sum(_resident(pid) for pid in pids)
    if total <= worth_asking or len(pids) == 1:
        return total
    return sum(_proportional(pid) for pid in pids)


def _mark(pid: int, prefix: bytes) -> str:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    start = environment.find(prefix)
    if start < 0 or (start > 0 and environment[start - 1] != 0):
        return ""
    return environment[start + len(prefix) :].split(b"\0", 1)[0].decode(errors="replace")


def _kill(pid: int, mark: str) -> None:
    # the descriptor names this very process: the id may be a stranger's by now, so the mark is read again through it
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _mark(pid, f"{MARK}=".encode()) == mark:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _tasks(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
    return 0


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)
