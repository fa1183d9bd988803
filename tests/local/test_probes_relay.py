"""In a shared session a subject speaks for itself alone: what its process writes for another one is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.wire.stream import Listener, Tail
from probes.events import Events, passed
from probes.relay import Relay, close_off
from probes.supervise import Limit, supervise
from probes.wire import MAX_EVENTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.judge.observations import Session

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
LIMIT = Limit(seconds=30, memory_bytes=4 << 30)
CHECK = "knows.architecture"


def shared(tmp_path: Path, deed: Callable[[Events], None], *, private: bool = True) -> Session:
    """Hold a session of two subjects, whose first does a deed; return what is believed of it."""
    file = tmp_path / "events.jsonl"
    file.touch()
    tail = Tail(file, limit_bytes=MAX_EVENTS_BYTES)
    tail.read()
    watcher = os.fork()
    if watcher == 0:
        events = Events(str(file))
        if private:
            close_off(str(file))
        events.append("session", wire=1, suite="", runtime="transformers", version="0", python="3")
        speak(events, "installs.imports", None)
        for name, work in (("a", deed), ("b", honest)):
            relay = Relay(events, (name,))
            supervise(lambda work=work: work(events), LIMIT, relay=relay)  # type: ignore[misc]
            events.fact(name, "resources", {})
        events.append("done")
        os._exit(0)
    os.waitpid(watcher, 0)
    listener = Listener("ab")
    while data := tail.read():
        listener.feed(data)
    tail.close()
    return listener.close()


def speak(events: Events, check: str, subject: str | None) -> None:
    events.started(subject, check)
    events.finished(subject, check, passed(), 0.1)


def honest(events: Events) -> None:
    events.started("b", CHECK)
    events.finished("b", CHECK, passed("by itself"), 0.1)


def test_each_speaks_for_itself(tmp_path: Path) -> None:
    session = shared(tmp_path, lambda events: speak(events, CHECK, "a"))
    assert session.malformed == ""
    assert [session.subjects[name].finished[0].check for name in "ab"] == [CHECK, CHECK]
    assert [fact.name for fact in session.subjects["a"].facts] == ["resources"]


@pytest.mark.parametrize(
    "forged",
    [
        {"event": "finished", "at": 1.0, "subject": "b", "check": CHECK, "outcome": "passed", "seconds": 0.1},
        {"event": "started", "at": 1.0, "subject": "b", "check": CHECK},
        {"event": "fact", "at": 1.0, "subject": None, "name": "imported", "value": {}},
        {"event": "died", "at": 1.0, "subject": "a"},
        {"event": "done", "at": 1.0},
        {"event": ["finished"], "subject": "a"},
        {"event": "finished", "subject": {"a": 1}},
        [],
    ],
    ids=str,
)
def test_what_it_writes_for_another_is_refused(tmp_path: Path, forged: Any) -> None:
    def forge(events: Events) -> None:
        speak(events, CHECK, "a")
        events.write(json.dumps(forged).encode() + b"\n")

    session = shared(tmp_path, forge)
    assert session.malformed
    assert session.subjects["b"].finished == ()  # and it is spoiled, so it gets another session
    assert all(session.subjects[name].spoiled for name in "ab")


@pytest.mark.parametrize("line", [b"garbage\n", b"\xff\n", b"[" * 100_000 + b"\n", b"x" * (3 << 20)])
def test_what_is_no_event_is_refused(tmp_path: Path, line: bytes) -> None:
    session = shared(tmp_path, lambda events: events.write(line))
    assert session.malformed
    assert session.subjects["b"].finished == ()


def test_a_line_that_a_kill_tore_does_not_count(tmp_path: Path) -> None:
    def torn(events: Events) -> None:
        speak(events, CHECK, "a")
        events.write(b'{"event": "fini')

    session = shared(tmp_path, torn)
    assert session.malformed == ""
    assert session.subjects["b"].finished[0].message == "by itself"


def test_large_evidence_comes_through_whole(tmp_path: Path) -> None:
    def speak_at_length(events: Events) -> None:
        events.started("a", CHECK)
        events.finished("a", CHECK, passed(rows=[["x" * 1000] * 200] * 3), 0.1)

    (finished,) = shared(tmp_path, speak_at_length).subjects["a"].finished
    assert len(str(finished.evidence)) > 600_000


def test_the_file_has_no_name_left_that_a_subject_could_open(tmp_path: Path) -> None:
    def write_by_name(_events: Events) -> None:
        Path(tmp_path / "events.jsonl").write_bytes(b"garbage\n")

    session = shared(tmp_path, write_by_name)
    assert session.malformed == ""
    assert session.subjects["b"].finished[0].message == "by itself"


@pytest.mark.skipif(os.getuid() == 0, reason="root may look into any process")
def test_what_a_session_holds_open_cannot_be_reached(tmp_path: Path) -> None:
    note = tmp_path / "note"

    def reach(_events: Events) -> None:
        try:
            note.write_text(str(list(Path(f"/proc/{os.getppid()}/fd").iterdir())))
        except PermissionError:
            note.write_text("refused")

    shared(tmp_path, reach)
    assert note.read_text() == "refused"


def test_a_subjects_own_process_stays_open_to_itself(tmp_path: Path) -> None:
    note = tmp_path / "score"

    def look(_events: Events) -> None:
        note.write_text(Path("/proc/self/oom_score_adj").read_text(encoding="ascii"))

    shared(tmp_path, look)
    assert note.read_text().strip() == "1000"
