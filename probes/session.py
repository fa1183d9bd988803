"""The session inside the container: reads the request, imports the runtime once, and gives each subject a process."""

from __future__ import annotations

import gc
import hashlib
import json
import mmap
import os
import platform
import signal
import struct
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from probes.catalogue import adapter_class
from probes.events import Events, failed, passed
from probes.faults import failure
from probes.relay import Relay, close_off
from probes.remote_code import refuse
from probes.runtimes import Runtime
from probes.subject import Subject, run_checks
from probes.supervise import End, Limit, supervise
from probes.wire import WIRE

_IMPORT_LIMIT_S = 300.0
_PROGRESS = struct.Struct("dB")
_NO_TURN, _TURN = 1, 2


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:  # noqa: PLR2004 -- the two files
        sys.stderr.write("usage: python -I probes.pyz request.json events.jsonl\n")
        return 2
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    if request.get("wire") != WIRE:
        sys.stderr.write(f"this probe speaks wire {WIRE}, the request is wire {request.get('wire')}\n")
        return 2
    signal.signal(signal.SIGTERM, _end_with_the_group)
    refuse()
    events = Events(arguments[1])
    if request.get("private"):
        close_off(arguments[1])
    events.append(
        "session",
        wire=WIRE,
        suite=_suite(),
        runtime=request["runtime"],
        version=request["version"],
        python=platform.python_version(),
    )
    runtime = adapter_class(request["runtime"])()
    if request["isolation"] == "solo":
        return alone(runtime, request, events)
    if _imports(runtime, request, events):
        if request["isolation"] == "fork":
            _prime(runtime)
        gc.freeze()  # children's collections would touch, and so copy, every page of what was imported
        for given in request["subjects"]:
            _probe(runtime, request, given, events)
    events.append("done")
    return 0


def _imports(runtime: Runtime, request: dict[str, Any], events: Events) -> bool:
    events.started(None, "installs.imports")
    began = time.monotonic()
    try:
        imported = runtime.load()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 -- an import runs any code; whatever it raises is the answer
        answer = failure(error, "installs.imports", request["runtime"], runtime.phrases)
        events.finished(None, "installs.imports", answer, time.monotonic() - began)
        return False
    events.finished(None, "installs.imports", passed(imported=imported), time.monotonic() - began)
    events.fact(None, "imported", imported)
    return True


def _prime(runtime: Runtime) -> None:
    try:
        runtime.prime()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 -- priming only saves time; the subjects' checks show what is broken
        sys.stderr.write(f"priming failed, subjects start colder: {type(error).__name__}: {error}\n")


def _probe(runtime: Runtime, request: dict[str, Any], given: dict[str, Any], events: Events) -> None:
    sys.stderr.write(f"=== subject {given['id']} ===\n")
    subject = Subject(runtime, request["runtime"], given, request.get("seed", 0))
    limit = Limit(request["limit_s"], request["memory_bytes"])
    relay = Relay(events, (given["id"],))
    _report(supervise(lambda: run_checks(subject, given["id"], events), limit, relay=relay), given, events)


def alone(runtime: Runtime, request: dict[str, Any], events: Events) -> int:
    """Give the one subject a process that imports the runtime itself; return the exit code of this one, which does not.

    A failure that comes from forking after the import does not show here.
    """
    (given,) = request["subjects"]
    subject = Subject(runtime, request["runtime"], given, request.get("seed", 0))
    progress = Progress()

    def work() -> None:
        began = time.monotonic()
        imported = _imports(runtime, request, events)
        progress.set(_TURN if imported else _NO_TURN, time.monotonic() - began)
        if imported:
            run_checks(subject, given["id"], events)

    def allowance() -> float:
        seconds, reached = progress.get()
        return seconds if reached else float(request.get("import_limit_s", _IMPORT_LIMIT_S))

    limit = Limit(request["limit_s"], request["memory_bytes"])
    end = supervise(work, limit, allowance, Relay(events, (None, given["id"])))
    seconds, reached = progress.get()
    if not reached:
        return _end_as(end, events)
    if reached == _TURN:
        _report(end._replace(seconds=max(0.0, round(end.seconds - seconds, 4))), given, events)
    events.append("done")
    return 0


class Progress:
    """How far the lone child has come, in memory that its parent shares: the import's outcome, and its seconds."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _PROGRESS.size)

    def set(self, reached: int, seconds: float) -> None:
        self._shared[:] = _PROGRESS.pack(seconds, reached)

    def get(self) -> tuple[float, int]:
        seconds, reached = _PROGRESS.unpack(self._shared[:])
        return seconds, reached


def _end_as(end: End, events: Events) -> int:
    """End as the child did while importing: the session's own check is judged by how the container ends."""
    if end.out_of_memory or end.timed_out:
        # both by our limits, which the container's ending would not show
        fault, message = "unclassified", f"no import within {end.seconds:.0f} s"
        if end.out_of_memory:
            fault, message = "infra-memory", "our memory limit ended the import"
        sys.stderr.write(message + "\n")
        events.finished(None, "installs.imports", failed(fault, message), end.seconds)
        events.append("done")
        return 0
    if end.signal is None:
        return end.exit_code or 0
    sys.stderr.flush()
    if end.signal != signal.SIGKILL:  # which cannot be handled
        signal.signal(end.signal, signal.SIG_DFL)
    os.kill(os.getpid(), end.signal)
    return 128 + end.signal  # the first process of a container has no default actions


def _report(end: End, given: dict[str, Any], events: Events) -> None:
    if end.clean:
        used = {"seconds": end.seconds, "peak_memory_bytes": end.peak_memory_bytes}
        events.fact(given["id"], "resources", used)
    else:
        events.append("died", subject=given["id"], **end._asdict())


def _suite() -> str:
    """Return the digest of the bundle that is running, "" when it runs from a source tree."""
    bundle = Path(sys.argv[0])
    return hashlib.sha256(bundle.read_bytes()).hexdigest() if bundle.suffix == ".pyz" and bundle.is_file() else ""


def _end_with_the_group(number: int, _frame: FrameType | None) -> None:
    # the child is bound to this process's life, so leaving is enough
    os._exit(128 + number)
