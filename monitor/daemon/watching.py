"""How others see that the daemon is alive: health and figures over HTTP, systemd's watchdog, a ping elsewhere."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.errors import ConfigError, InfraError, UsageError
from monitor.serve.health import Heartbeat, Pulse, health_of, patience_s
from monitor.serve.metrics import metrics_of
from monitor.sources.web import fetch, install_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from containers.settings import InstallSettings
    from monitor.config.settings import Config
    from monitor.daemon.tick import Clock, DaemonState
    from monitor.judge.observations import Finished
    from monitor.progress import Progress

_SYSTEMD_SECONDS = 1.0  # a reader that does not read must not stop the daemon
_STATUS_CHARACTERS = 200
_PING_SECONDS = 10.0
_PING_BYTES = 64 << 10


class Observers:
    """Everything outside that follows the loop; ``progress`` counts every message as a heartbeat."""

    def __init__(self, config: Config, clock: Clock, progress: Progress) -> None:
        self._config, self._clock = config, clock
        self.pulse, self.supervisor = (
            Pulse(patience_s(config), home=config.home),
            Supervisor.from_environment(os.environ),
        )
        self.progress: Progress = HeartbeatProgress(progress, self._beat)
        self._ticks, self._last = 0, Heartbeat(clock.now(), 0)
        self._beaten = self._pinged = 0.0

    def ticked(self, state: DaemonState) -> None:
        self._ticks += 1
        self._last = Heartbeat(
            at=self._clock.now(),
            tick=self._ticks,
            waiting_for="; ".join(f"{name}: {wait.reason}" for name, wait in state.waits.items()),
            jobs_done={str(reason): count for reason, count in state.done.items()},
            last_fault=state.last_fault,
        )
        self._beat(now=True)
        if not state.waits and time.monotonic() - self._pinged >= self._config.daemon.tick_seconds:
            ping(self._config.daemon.ping_url.get_secret_value(), install_settings(self._config), self.progress)
            self._pinged = time.monotonic()

    def _beat(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._beaten >= 1:
            self._beaten = time.monotonic()
            self.pulse.beat(self._last)
            self.supervisor.beat(self._last)


@contextmanager
def observed(config: Config, clock: Clock, progress: Progress) -> Iterator[Observers]:
    observers = Observers(config, clock, progress)
    home, pulse = config.home, observers.pulse
    with serve_health(config.daemon.listen, partial(health_of, home, pulse), metrics_of(home, pulse)) as address:
        if address:
            progress.message(f"health: {address}/healthz, figures for Prometheus: {address}/metrics")
        pulse.write()
        observers.supervisor.ready()
        try:
            yield observers
        finally:
            pulse.remove()
            observers.supervisor.stopping("stopping")


@contextmanager
def serve_health(
    listen_at: str, health: Callable[[], Mapping[str, object]], metrics: Callable[[], bytes]
) -> Iterator[str]:
    """Serve /healthz and /metrics in a thread; yield the address, "" where ``listen_at`` is and nothing is served.

    Raises ConfigError when the address is not available.
    """
    if not listen_at:
        yield ""
        return
    from monitor.serve.app import health_app
    from monitor.serve.server import address_of, listen, serve_in_thread

    host, _, port = listen_at.rpartition(":")
    try:
        bound = listen(host.strip("[]"), int(port))
    except UsageError as error:
        hint = 'set daemon.listen to another address, or to "" for none'
        raise ConfigError(str(error), hint=hint) from None
    with serve_in_thread(health_app(health, metrics), bound):
        yield address_of(bound)


@dataclass(frozen=True, slots=True)
class HeartbeatProgress:
    """Passes everything on and beats each time: a message in the middle of long work shows that it goes on."""

    progress: Progress
    beat: Callable[[], object]

    def message(self, sentence: str) -> None:
        self.beat()
        self.progress.message(sentence)

    def expect_subjects(self, subjects: int) -> None:
        self.beat()
        self.progress.expect_subjects(subjects)

    def check_finished(self, subject: str | None, check: Finished) -> None:
        self.beat()
        self.progress.check_finished(subject, check)

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None:
        self.beat()
        self.progress.subject_finished(subject, verdict, reason, seconds)


@dataclass(frozen=True, slots=True)
class Supervisor:
    """systemd, where it started the daemon and wants notifications; otherwise nothing is sent. No method raises."""

    address: str = ""
    watchdog_s: float | None = None  # systemd ends a daemon that is silent for longer

    @classmethod
    def from_environment(cls, env: Mapping[str, str], *, pid: int | None = None) -> Supervisor:
        """Read systemd's variables; a watchdog of another process, inherited by a child, does not count."""
        watchdog = env.get("WATCHDOG_USEC", "")
        for_us = env.get("WATCHDOG_PID") in (None, str(pid or os.getpid()))
        seconds = int(watchdog) / 1e6 if watchdog.isdigit() and int(watchdog) and for_us else None
        return cls(env.get("NOTIFY_SOCKET", ""), seconds)

    def ready(self) -> bool:
        return self._notify("READY=1")

    def beat(self, heartbeat: Heartbeat) -> bool:
        activity = f"waiting for {heartbeat.waiting_for}" if heartbeat.waiting_for else "at work"
        return self._notify("WATCHDOG=1", _status(f"tick {heartbeat.tick}: {activity}"))

    def stopping(self, reason: str) -> bool:
        return self._notify("STOPPING=1", _status(reason))

    def _notify(self, *lines: str) -> bool:
        if not self.address.startswith(("/", "@")):
            return False
        # an abstract socket is written with @ and begins with a zero byte
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
                systemd.settimeout(_SYSTEMD_SECONDS)
                systemd.sendto("\n".join(lines).encode(), name)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:_STATUS_CHARACTERS]


def ping(url: str, settings: InstallSettings, progress: Progress) -> bool:
    """Fetch the address of a dead man's switch and return whether it answers; "" is none. A failure is a message.

    The message names only the host: the whole address would let its reader keep a dead daemon alive.
    """
    if not url:
        return False
    try:
        answers = fetch(url, settings, limit_bytes=_PING_BYTES, seconds=_PING_SECONDS) is not None
        reason = "" if answers else "there is no such address (404)"
    except InfraError as error:
        answers, reason = False, str(error)
    if not answers:
        progress.message(f"the ping after this tick failed: {urlsplit(url).hostname}: {reason}")
    return answers
