"""A session hands over each subject as its turn ends, and ends a probe that writes more than will be read."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from containers.engine import Command, Execution
from containers.environment import Environment
from containers.recipes import RECIPES
from monitor.config.settings import Limits
from monitor.domain import Runtime, Subject, SubjectForm
from monitor.runner.session import PreparedSubject, SessionRunner, SessionSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.domain import Ending
    from monitor.judge.observations import Session
    from monitor.wire.stream import SubjectEvents


class PlainEngine:
    """Runs a function of ours where a container would be; what it is given and what it leaves are real files."""

    name = "plain"
    isolated = False
    mounts_read_only = False

    def __init__(self, probe: Callable[[Path, threading.Event], int]) -> None:
        self._probe = probe
        self._stopped = threading.Event()

    def describe(self) -> str:
        return "a function"

    def run(self, command: Command, *, cancel: threading.Event | None = None) -> Execution:
        code = self._probe(Path(command.argv[-1]), cancel or self._stopped)
        return Execution(code, None, out_of_memory=False, timed_out=False, seconds=0.1, peak_memory_bytes=None, log=b"")

    def stop(self) -> None:
        self._stopped.set()

    def sweep(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


def run_session(
    folder: Path, probe: Callable[[Path, threading.Event], int], **limits: int
) -> tuple[Session, list[str]]:
    environment = Environment("digest", folder / "env", built=False, seconds=0.0)
    subject = Subject("a", "a", SubjectForm.MINIATURE, "llama", "files")
    session_runner = SessionRunner(
        PlainEngine(probe),
        "",
        folder / "probes.pyz",
        folder / "sessions",
        Limits(),
        RECIPES[Runtime.TRANSFORMERS],
        **limits,
    )
    spec = SessionSpec("one", Runtime.TRANSFORMERS, "5.0.0", environment, (PreparedSubject(subject, folder / "a", {}),))
    turns: list[str] = []

    def note(events: SubjectEvents, ending: Ending) -> None:
        turns.append(f"{events.subject} {ending.exit_code}")

    return session_runner.run_session(spec, subject_finished=note).session, turns


def test_a_probe_that_writes_more_than_is_read_is_ended(tmp_path: Path) -> None:
    def flood(events: Path, stopped: threading.Event) -> int:
        for number in range(1000):
            (events.parent / f"junk{number}").write_bytes(b"x" * (1 << 20))
            if stopped.wait(0.02):
                return 137
        return 0

    session, turns = run_session(tmp_path, flood, output_bytes=1 << 20)
    assert "more files than it may" in session.malformed
    assert turns == ["a 137"]
    assert not (tmp_path / "sessions" / "one").exists()


def test_a_probe_that_leaves_empty_files_without_end_is_ended(tmp_path: Path) -> None:
    def litter(events: Path, stopped: threading.Event) -> int:
        for number in range(100_000):
            (events.parent / f"empty{number}").touch()
            if number % 500 == 0 and stopped.wait(0.02):
                return 137
        return 0

    session, turns = run_session(tmp_path, litter)
    assert "more than 1000 files" in session.malformed
    assert turns == ["a 137"]
    assert not (tmp_path / "sessions" / "one").exists()


def test_whatever_a_probe_leaves_the_session_ends_and_its_folder_goes(tmp_path: Path) -> None:
    """Folders deeper than any stack, one that vanishes while it is looked at, and one that is closed."""

    def nest(events: Path, stopped: threading.Event) -> int:
        descriptor = os.open(events.parent, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("deep", dir_fd=descriptor)
            inner = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(descriptor)
        for number in range(200):
            (events.parent / "going" / str(number)).mkdir(parents=True)
            (events.parent / "going" / str(number)).rmdir()
            (events.parent / "going").rmdir()
        (events.parent / "closed").mkdir(mode=0o000)
        return 137 if stopped.wait(5) else 0

    session, turns = run_session(tmp_path, nest)
    assert "folders more than 16 deep" in session.malformed
    assert turns == ["a 137"]
    assert not (tmp_path / "sessions" / "one").exists()


def test_the_events_file_is_held_before_the_probe_begins(tmp_path: Path) -> None:
    """So that a session can take its name away, and what is put in its place later is never read."""

    def swap(events: Path, _stopped: threading.Event) -> int:
        with events.open("a", encoding="utf-8") as kept:
            events.unlink()
            events.write_text("garbage\n", encoding="utf-8")
            line = {
                "event": "session",
                "at": 0.0,
                "wire": 1,
                "suite": "",
                "runtime": "t",
                "version": "5",
                "python": "3",
            }
            kept.write(json.dumps(line) + "\n")
        return 0

    session, _ = run_session(tmp_path, swap)
    assert session.announced
    assert session.malformed == ""


def test_a_probe_reads_its_request_beside_its_output(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []

    def read(events: Path, _stopped: threading.Event) -> int:
        seen.append(json.loads((events.parent.parent / "request.json").read_text()))
        return 0

    run_session(tmp_path, read)
    assert seen[0]["subjects"] == [
        {"id": "a", "path": str(tmp_path / "a"), "golden": {}, "control": False, "deep": True, "withheld": []}
    ]
    assert seen[0]["isolation"] == "fork"
