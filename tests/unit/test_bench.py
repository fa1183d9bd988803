"""A sitting hands over who had a turn, and ends what writes more than anybody will read."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from containers.engine import Command, Execution
from containers.environment import Environment
from monitor.config.settings import Limits
from monitor.domain import Runtime, Subject, SubjectForm
from monitor.runner.session import PreparedSubject, SessionRunner, SessionSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from monitor.domain import Ending
    from monitor.judge.observations import Session


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


def run_session(folder: Path, probe: Callable[[Path, threading.Event], int]) -> tuple[Session, list[str]]:
    environment = Environment("digest", folder / "env", built=False, seconds=0.0)
    subject = Subject("a", "a", SubjectForm.MINIATURE, "llama", "files")
    session_runner = SessionRunner(PlainEngine(probe), "", folder / "probes.pyz", folder / "sittings", Limits())
    spec = SessionSpec("one", Runtime.TRANSFORMERS, "5.0.0", environment, (PreparedSubject(subject, folder / "a", {}),))
    over: list[str] = []

    def note(name: str, _session: Session, _raw: bytes, ending: Ending) -> None:
        over.append(f"{name} {ending.exit_code}")

    return session_runner.run_session(spec, over=note).session, over


def test_what_nobody_will_read_is_not_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.runner.session._OUTPUT_BYTES", 1 << 20)

    def flood(events: Path, stopped: threading.Event) -> int:
        for number in range(1000):
            (events.parent / f"junk{number}").write_bytes(b"x" * (1 << 20))
            if stopped.wait(0.02):
                return 137
        return 0

    session, over = run_session(tmp_path, flood)
    assert "more files than it may" in session.malformed
    assert over == ["a 137"]
    assert not (tmp_path / "sittings" / "one").exists()


def test_a_probe_reads_its_request_where_it_is_told(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []

    def read(events: Path, _stopped: threading.Event) -> int:
        seen.append(json.loads((events.parent.parent / "request.json").read_text()))
        return 0

    run_session(tmp_path, read)
    assert seen[0]["subjects"] == [{"id": "a", "path": str(tmp_path / "a"), "golden": {}, "control": False}]
    assert seen[0]["isolation"] == "fork"
