"""The session inside the container: reads the request, imports the runtime once, and gives each subject a process."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.events import Events, passed
from probes.faults import failure
from probes.runtimes import adapter
from probes.subject import Subject, run_checks
from probes.supervise import Limit, supervise
from probes.wire import WIRE

if TYPE_CHECKING:
    from types import FrameType

    from probes.runtimes import Runtime


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:  # noqa: PLR2004 -- the two files
        sys.stderr.write("usage: python -I probes.pyz request.json events.jsonl\n")
        return 2
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    if request.get("wire") != WIRE:
        sys.stderr.write(f"this probe speaks wire {WIRE}, the request is wire {request.get('wire')}\n")
        return 2
    signal.signal(signal.SIGTERM, _end_with_the_group)
    events = Events(arguments[1])
    events.append(
        "session",
        wire=WIRE,
        suite=_suite(),
        runtime=request["runtime"],
        version=request["version"],
        python=platform.python_version(),
    )
    runtime = adapter(request["runtime"])
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
    except Exception as error:  # noqa: BLE001 -- an import runs anybody's code; whatever it raises is the answer
        answer = failure(error, "installs.imports", request["runtime"])
        events.finished(None, "installs.imports", answer, time.monotonic() - began)
        return False
    events.finished(None, "installs.imports", passed(imported=imported), time.monotonic() - began)
    events.fact(None, "imported", imported)
    return True


def _prime(runtime: Runtime) -> None:
    try:
        runtime.prime()
    except Exception as error:  # noqa: BLE001 -- priming only saves time; the subjects' own checks will tell what is broken
        sys.stderr.write(f"priming failed, subjects start colder: {type(error).__name__}: {error}\n")


def _probe(runtime: Runtime, request: dict[str, Any], given: dict[str, Any], events: Events) -> None:
    sys.stderr.write(f"=== subject {given['id']} ===\n")
    subject = Subject(runtime, request["runtime"], given, request.get("seed", 0))
    limit = Limit(request["limit_s"], request["memory_bytes"])
    end = supervise(lambda: run_checks(subject, given["id"], events), limit)
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
