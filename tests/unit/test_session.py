"""A session hands over each subject as its turn ends, and ends a probe that writes more than will be read."""

from __future__ import annotations

import json
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


def test_a_probe_reads_its_request_beside_its_output(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []

    def read(events: Path, _stopped: threading.Event) -> int:
        seen.append(json.loads((events.parent.parent / "request.json").read_text()))
        return 0

    run_session(tmp_path, read)
    assert seen[0]["subjects"] == [{"id": "a", "path": str(tmp_path / "a"), "golden": {}, "control": False}]
    assert seen[0]["isolation"] == "fork"
