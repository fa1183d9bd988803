"""What /healthz answers: the last heartbeat of the loop, and what was recorded last."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from containers.processes import owner_lives, owner_token
from monitor.errors import SettleError
from monitor.store import open_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from monitor.config.settings import Config

PULSE_FILE = "daemon.json"  # in the data directory, while a daemon runs
_TICKS = 3  # one may be late, and the one after it


@dataclass(frozen=True, slots=True)
class Heartbeat:
    at: datetime
    tick: int
    waiting_for: str = ""  # completes the sentence "it waits for ..."
    jobs_done: Mapping[str, int] = field(default_factory=dict)  # since the daemon's start, by reason
    last_fault: str = ""  # the last infra fault as a sentence, "" when there was none


@dataclass(frozen=True, slots=True)
class PulseState:
    """How the loop is at a moment: its last heartbeat (None before the first), and that one's age."""

    heartbeat: Heartbeat | None = None
    age_s: float = 0.0
    stale: bool = False
    running: bool = True


class HasState(Protocol):
    def state(self) -> PulseState: ...


class Pulse:
    """The last heartbeat of this process's loop and its age; the loop writes it, and any thread may read it.

    A file in the data directory has the same, so that every other process gives the same answer.
    """

    def __init__(
        self, patience_s: float, clock: Callable[[], float] = time.monotonic, *, home: Path | None = None
    ) -> None:
        # the age is measured by the monotonic clock: setting the machine's time does not stop the daemon
        self._clock, self._patience_s = clock, patience_s
        self._file = home / PULSE_FILE if home else None
        self._last: tuple[float, Heartbeat | None] = (clock(), None)

    def beat(self, heartbeat: Heartbeat) -> None:
        self._last = (self._clock(), heartbeat)
        self.write()

    def state(self) -> PulseState:
        at, heartbeat = self._last
        age = self._clock() - at
        return PulseState(heartbeat, age, stale=age > self._patience_s)

    def write(self) -> None:
        """Write the file whole or not at all; a full disk is no reason to end the loop."""
        if self._file is None:
            return
        at, heartbeat = self._last
        record = {
            "owner": owner_token(),
            "namespace": _namespace(),
            "patience_s": self._patience_s,
            "at_monotonic": at,
            "heartbeat": asdict(heartbeat) | {"at": heartbeat.at.isoformat()} if heartbeat else None,
        }
        aside = self._file.with_name(f".{self._file.name}.writing")
        with suppress(OSError):
            aside.write_text(json.dumps(record), encoding="utf-8")
            aside.replace(self._file)

    def remove(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)


class RecordedPulse:
    """The pulse of the daemon of a data directory, in whatever process that runs; read at each use."""

    def __init__(
        self, home: Path, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._file, self._clock, self._wall = home / PULSE_FILE, clock, wall

    def state(self) -> PulseState:
        """Return how the daemon is; a file that its process left behind when it was killed says that none runs."""
        try:
            record = json.loads(self._file.read_text(encoding="utf-8"))
            heartbeat = record["heartbeat"]
            last = Heartbeat(**heartbeat | {"at": datetime.fromisoformat(heartbeat["at"])}) if heartbeat else None
            here = record["namespace"] == _namespace()
            running = not here or owner_lives(record["owner"])
            # a container has its process numbers and its machine's clock, another machine has neither
            same_clock = record["owner"].rpartition("-")[2] == owner_token().rpartition("-")[2]
            age = self._clock() - record["at_monotonic"] if same_clock or last is None else self._since(last)
            return PulseState(last, age, stale=age > record["patience_s"], running=running)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return PulseState(running=False)

    def _since(self, heartbeat: Heartbeat) -> float:
        return max(0.0, self._wall() - heartbeat.at.timestamp())


def _namespace() -> str:
    """Name the namespace of process numbers: another container's numbers mean nothing here."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def patience_s(config: Config) -> float:
    """Return how long a living daemon may be silent: some ticks, and the longest step without a message."""
    return _TICKS * config.daemon.tick_seconds + config.limits.install_seconds


def health_of(home: Path, pulse: HasState) -> dict[str, Any]:
    """Return what /healthz answers: the daemon's, and that of `settle serve`, which reads the pulse of the daemon."""
    state = pulse.state()
    try:
        with open_reader(home) as store:
            return health(state, store.last_recorded())
    except SettleError as error:
        return health(state, {}, problem=str(error))


def health(state: PulseState, recorded: Mapping[str, Any], *, problem: str = "") -> dict[str, Any]:
    """Return health as JSON; all is well while a daemon's loop is not silent for too long and the database is read."""
    last = state.heartbeat
    status = "ok" if last else "starting"
    if not state.running:
        status = "not running"
    elif state.stale:
        status = "stale"
    elif problem:
        status = "unreadable"
    return {
        "well": status in {"ok", "starting"},
        "status": status,
        "age_seconds": round(state.age_s, 1) if state.running else None,
        "tick": last.tick if last else None,
        "last_tick": last.at.isoformat() if last else None,
        "waiting_for": last.waiting_for if last else "",
        "jobs_done": dict(last.jobs_done) if last else {},
        "last_fault": last.last_fault if last else "",
        "last_run": recorded.get("last_run"),
        "last_day": recorded.get("last_day"),
        "problem": problem,
    }
