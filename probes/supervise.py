"""Runs one subject in a forked child and watches it: time, memory, and how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from probes.relay import Relay, set_dumpable
from probes.wire import OUR_BUG_EXIT

_WATCH_S = 0.05
_REAP_S = 0.001
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1


class Limit(NamedTuple):
    seconds: float
    memory_bytes: int


class End(NamedTuple):
    exit_code: int | None
    signal: int | None
    timed_out: bool
    out_of_memory: bool
    seconds: float
    peak_memory_bytes: int

    @property
    def clean(self) -> bool:
        return self.exit_code == 0


def supervise(
    work: Callable[[], None],
    limit: Limit,
    allowance: Callable[[], float] = lambda: 0.0,
    relay: Relay | None = None,
) -> End:
    """Fork, do the work in the child, and wait for it no longer and no larger than the limit.

    ``allowance`` says at any moment how many seconds are granted beyond the limit's; ``relay`` carries the child's
    events, all of them before this returns.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kills_before = oom_kills()
    began = time.monotonic()
    ended, open_in_child = os.pipe()
    parent = os.getpid()
    child = _fork()
    if child == 0:
        os.close(ended)
        _become_expendable(parent)
        if relay is not None:
            relay.begin_in_child()
        work_and_exit(work)
    os.close(open_in_child)
    if relay is not None:
        relay.begin_in_parent()
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)  # the child does it too; either may come first
    try:
        return _watch(child, ended, began, limit, allowance=allowance, relay=relay, kills_before=kills_before)
    finally:
        os.close(ended)
        # what the subject left running must end before the next one starts
        _kill(child)
        if relay is not None:
            relay.finish()


def _watch(
    child: int,
    ended: int,
    began: float,
    limit: Limit,
    *,
    allowance: Callable[[], float],
    relay: Relay | None,
    kills_before: int,
) -> End:
    peak, killed_for = 0, ""
    while True:
        events = [relay.fileno()] if relay is not None and relay.open else []
        ready = select.select([ended, *events], [], [], _WATCH_S)[0]
        if relay is not None and relay.fileno() in ready:
            relay.pump()
        # the pipe ends when the child does, so a short subject does not wait for the next look
        if ended in ready:
            time.sleep(_REAP_S)  # between the closing of its files and its end; or something closed the pipe early
        pid, status, used = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if pid:
            peak = max(peak, used.ru_maxrss * 1024)
            ended_by = -status_code if (status_code := os.waitstatus_to_exitcode(status)) < 0 else None
            return End(
                exit_code=None if ended_by else status_code,
                signal=ended_by,
                timed_out=killed_for == "time",
                out_of_memory=killed_for == "memory" or (ended_by == signal.SIGKILL and oom_kills() > kills_before),
                seconds=round(seconds, 4),
                peak_memory_bytes=peak,
            )
        resident = resident_bytes(child)
        peak = max(peak, resident)
        if not killed_for and (resident > limit.memory_bytes or seconds > limit.seconds + allowance()):
            killed_for = "memory" if resident > limit.memory_bytes else "time"
            _kill(child)


def _fork() -> int:
    """Fork, patiently: what the subject before left behind may still hold places in the container's process limit."""
    for wait_s in (0.1, 0.5, 2.0):
        with contextlib.suppress(BlockingIOError):
            return os.fork()
        time.sleep(wait_s)
    return os.fork()


def _become_expendable(parent: int) -> None:
    """Make the kernel choose this child first, let it die with its parent, and give it a group to be killed by."""
    os.setpgid(0, 0)
    set_dumpable(True)  # a parent that closed itself off has a child that nothing can be written to in /proc
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(OUR_BUG_EXIT)  # it died before the line above took effect
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def work_and_exit(work: Callable[[], None]) -> None:
    try:
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 -- this is the end of the process: say why, and never return into the parent's code
        traceback.print_exc()
        code = OUR_BUG_EXIT
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # a runtime's exit handlers belong to the parent


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def resident_bytes(group: int) -> int:
    """Return the resident set of a process and of those it started, shared pages counted once a process."""
    total = 0
    for pid in _family(group):
        with contextlib.suppress(OSError, IndexError, ValueError):
            total += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    return total


def _family(pid: int) -> list[int]:
    pids = [pid]
    for parent in pids:  # grows while it is walked
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += map(int, (task / "children").read_text(encoding="ascii").split())
    return pids


def oom_kills() -> int:
    """Return how often the kernel has killed in this container for lack of memory (cgroup v2, then v1)."""
    for file in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(file).read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0
