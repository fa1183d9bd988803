"""Alone, a subject's own process imports the runtime; the one that watches it imports nothing and ends as it did."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from monitor.wire.stream import read_events
from probes import session
from probes.events import Events
from tests.specimens import checkpoints
from tests.specimens.runtimes import PanicException, PlainRuntime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")


class Importing(PlainRuntime):
    """Does one thing while it is imported, and tells in which process."""

    def __init__(self, deed: str = "", defect: str = "") -> None:
        super().__init__(defect)
        self.deed = deed

    def load(self) -> dict[str, str]:
        faulthandler.disable()
        if self.deed == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.deed == "leave":
            sys.exit(3)
        if self.deed == "hang":
            time.sleep(60)
        if self.deed == "slow":
            time.sleep(1)
        if self.deed == "eat":
            kept = []
            while True:
                kept.append(bytearray(os.urandom(1 << 20) * 16))
        if self.deed == "panic":
            raise PanicException("no")
        return {"plain": str(os.getpid())}


class Dying(Importing):
    def registered(self) -> int:
        os.kill(os.getpid(), signal.SIGSEGV)
        return 0


def held(tmp_path: Path, runtime: PlainRuntime, **changes: Any) -> tuple[int, int, list[dict[str, Any]]]:
    """Hold a session in a process of its own; return its id, how it ended and what was written."""
    folder = checkpoints.bare(tmp_path / "good", eos_token_id=2, sliding_window=16)
    request = {"runtime": "transformers", "limit_s": 30, "import_limit_s": 30, "memory_bytes": 4 << 30,
               "subjects": [{"id": "m", "path": str(folder)}], **changes}  # fmt: skip
    path = tmp_path / "events.jsonl"
    watcher = os.fork()
    if watcher == 0:
        events = Events(str(path))
        events.append("session", wire=1, suite="", runtime="transformers", version="0", python="3")
        os._exit(session.alone(runtime, request, events))  # type: ignore[arg-type]
    status = os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1])
    raw = path.read_bytes()
    assert not read_events(raw, ["m"]).malformed
    return watcher, status, [json.loads(line) for line in raw.splitlines()]


def said(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def test_the_subjects_process_imports_and_the_watcher_does_not(tmp_path: Path) -> None:
    watcher, status, events = held(tmp_path, Importing())
    assert status == 0
    finished = said(events, "finished")
    assert finished[0]["check"] == "installs.imports"
    assert int(finished[0]["evidence"]["imported"]["plain"]) != watcher
    assert finished[-1]["check"] == "knows.effects"
    assert events[-2]["name"] == "resources"
    assert events[-1]["event"] == "done"


@pytest.mark.parametrize(("deed", "status"), [("segfault", -signal.SIGSEGV), ("leave", 3)])
def test_a_death_while_importing_is_the_sessions_own(tmp_path: Path, deed: str, status: int) -> None:
    _, ended, events = held(tmp_path, Importing(deed))
    assert ended == status
    assert [event["event"] for event in events] == ["session", "started"]


def test_a_panic_while_importing_is_an_answer(tmp_path: Path) -> None:
    _, ended, events = held(tmp_path, Importing("panic"))
    assert ended == 0
    assert [event["event"] for event in events] == ["session", "started", "finished", "done"]
    assert events[2]["fault"] == "import-error"


@pytest.mark.parametrize(
    ("deed", "changes", "fault"),
    [
        ("hang", {"limit_s": 0.2, "import_limit_s": 0.3}, "unclassified"),
        ("eat", {"memory_bytes": 400 << 20}, "infra-memory"),
    ],
)
def test_our_own_limits_while_importing_are_told(
    tmp_path: Path, deed: str, changes: dict[str, Any], fault: str
) -> None:
    _, ended, events = held(tmp_path, Importing(deed), **changes)
    assert ended == 0
    assert (events[2]["subject"], events[2]["check"], events[2]["fault"]) == (None, "installs.imports", fault)


def test_a_death_after_the_import_is_the_subjects(tmp_path: Path) -> None:
    _, ended, events = held(tmp_path, Dying())
    assert ended == 0
    (died,) = said(events, "died")
    assert (died["subject"], died["signal"]) == ("m", signal.SIGSEGV)


def test_the_import_takes_nothing_from_the_subjects_time(tmp_path: Path) -> None:
    _, ended, events = held(tmp_path, Importing("slow"), limit_s=0.9)
    assert ended == 0
    assert not said(events, "died")
    assert events[-2]["value"]["seconds"] < 0.9


def test_a_panic_while_priming_only_costs_time(capsys: pytest.CaptureFixture[str]) -> None:
    class Panicking(PlainRuntime):
        def prime(self) -> None:
            raise PanicException("no")

    session._prime(Panicking())  # type: ignore[arg-type]
    assert "PanicException" in capsys.readouterr().err
