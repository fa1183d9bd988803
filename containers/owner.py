"""Who started something, in a form that a reused process id cannot imitate."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def home_digest(home: Path) -> str:
    """Name a home on labels and in environments without telling its path."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]


def started_at(pid: int) -> str:
    """Return the kernel's start time of a process in clock ticks, or ``""`` when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # the name in parentheses may itself hold spaces and parentheses
    return stat[stat.rindex(b")") + 2 :].split()[19].decode()


def owner_token(pid: int | None = None) -> str:
    """Name a process so that neither a reused id nor a reboot makes a stranger look like the owner."""
    pid = os.getpid() if pid is None else pid
    return f"{pid}-{started_at(pid) or 0}-{_boot()}"


def owner_lives(token: str) -> bool:
    """Say whether the process that a token names still runs; a token nobody can read has no owner."""
    pid, _, _rest = token.partition("-")
    return pid.isdigit() and bool(started_at(int(pid))) and owner_token(int(pid)) == token


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return "0"
