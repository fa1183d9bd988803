"""Tells systemd that the daemon is ready, alive and stopping, by its datagrams."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.daemon.heartbeat import Heartbeat

_SECONDS = 1.0  # whoever does not read is no reason to stand still
_STATUS_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Who started us, if it wants to hear of us; otherwise nothing is sent. No method raises."""

    address: str = ""
    watchdog_s: float | None = None  # we are ended when we are silent for longer

    @classmethod
    def of(cls, env: Mapping[str, str], *, pid: int | None = None) -> Supervisor:
        """Read what systemd says in the environment, which a child of ours may have inherited: it is not meant."""
        watchdog = env.get("WATCHDOG_USEC", "")
        meant = env.get("WATCHDOG_PID") in (None, str(pid or os.getpid()))
        seconds = int(watchdog) / 1e6 if watchdog.isdigit() and int(watchdog) and meant else None
        return cls(env.get("NOTIFY_SOCKET", ""), seconds)

    def ready(self) -> bool:
        return self._tell("READY=1")

    def beat(self, heartbeat: Heartbeat) -> bool:
        doing = f"waiting for {heartbeat.waiting_for}" if heartbeat.waiting_for else "at work"
        return self._tell("WATCHDOG=1", _status(f"tick {heartbeat.tick}: {doing}"))

    def stopping(self, why: str) -> bool:
        return self._tell("STOPPING=1", _status(why))

    def _tell(self, *lines: str) -> bool:
        if not self.address.startswith(("/", "@")):
            return False
        # an abstract socket is written with @, and begins with a zero
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.settimeout(_SECONDS)
                to.sendto("\n".join(lines).encode(), name)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:_STATUS_CHARACTERS]
