"""A session is heard the same in one piece or in many, and each subject is handed over when its turn ends."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.wire.stream import Listener, Tail, read_events
from probes import wire

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.judge.observations import Session
    from monitor.wire.stream import SubjectEvents

SESSION = {
    "event": "session",
    "at": 0.0,
    "wire": 1,
    "suite": "s",
    "runtime": "transformers",
    "version": "5.0.0",
    "python": "3.11",
}


def started(subject: str | None, check: str) -> dict[str, Any]:
    return {"event": "started", "at": 1.0, "subject": subject, "check": check}


def finished(subject: str | None, check: str) -> dict[str, Any]:
    return {"event": "finished", "at": 1.0, "subject": subject, "check": check, "outcome": "passed", "seconds": 0.1}


def died(subject: str) -> dict[str, Any]:
    return {
        "event": "died",
        "at": 2.0,
        "subject": subject,
        "exit_code": None,
        "signal": 11,
        "timed_out": False,
        "out_of_memory": False,
        "seconds": 0.5,
        "peak_memory_bytes": None,
    }


STORY = [
    SESSION,
    started(None, "installs.imports"),
    finished(None, "installs.imports"),
    started("a", "knows.architecture"),
    finished("a", "knows.architecture"),
    started("b", "knows.architecture"),
    died("b"),
    started("c", "knows.architecture"),
    finished("c", "knows.architecture"),
    {"event": "done", "at": 3.0},
]


def text(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def turns(data: list[bytes], requested: str = "abc") -> tuple[list[SubjectEvents], Session]:
    handed: list[SubjectEvents] = []
    listener = Listener(requested, subject_finished=handed.append)
    for piece in data:
        listener.feed(piece)
    return handed, listener.close()


def test_a_turn_is_handed_over_when_the_next_begins_or_the_subject_dies() -> None:
    handed: list[str] = []
    listener = Listener("abc", subject_finished=lambda events: handed.append(events.subject))
    after: list[str] = []
    for event in STORY:
        listener.feed(text([event]))
        after.append("".join(handed))
    assert after == ["", "", "", "", "", "a", "ab", "ab", "ab", "abc"]


def test_each_subject_takes_its_own_lines_and_the_sessions_with_it() -> None:
    handed, _ = turns([text(STORY)])
    for events in handed:
        reread = read_events(events.raw, [events.subject])
        assert reread.subjects == events.session.subjects
        assert reread.shared == events.session.shared
        assert reread.announced == events.session.announced


def test_who_never_had_a_turn_is_handed_over_at_the_end() -> None:
    handed, _ = turns([text(STORY[:5])])
    assert [events.subject for events in handed] == ["a", "b", "c"]
    assert handed[2].session.subjects["c"].started == ()


@given(cuts=st.lists(st.integers(0, len(text(STORY))), max_size=12))
def test_pieces_of_any_size_say_the_same(cuts: list[int]) -> None:
    whole = text(STORY)
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert turns(pieces) == turns([whole])


def test_a_malformed_line_spoils_whose_turn_it_is_and_who_comes_after_but_not_who_was_done() -> None:
    lines = text(STORY[:5]) + text([started("b", "knows.architecture")]) + b"garbage\n" + text(STORY[7:])
    handed, session = turns([lines])
    spoiled = {events.subject: bool(events.session.subjects[events.subject].spoiled) for events in handed}
    assert spoiled == {"a": False, "b": True, "c": True}
    assert "line 7" in session.malformed
    for events in handed:  # a rejudgement reads the same from what was kept
        recorded = events.session.subjects[events.subject]
        reread = read_events(events.raw, [events.subject], recorded.spoiled)
        assert (reread.subjects[events.subject], reread.malformed) == (recorded, events.session.malformed)


def test_the_events_of_a_subject_are_bounded_in_number() -> None:
    """Tiny facts without end are refused after a few, and nothing after them is taken."""
    fact = text([{"event": "fact", "at": 1.0, "subject": "b", "name": "n", "value": 1}])
    listener = Listener("abc")
    listener.feed(text(STORY[:5]))
    for _ in range(20):
        listener.feed(fact * 50_000)
    session = listener.close()
    assert len(session.subjects["b"].facts) == wire.MAX_FACTS
    assert "more than 200 facts" in session.malformed
    assert (session.subjects["a"].spoiled, bool(session.subjects["b"].spoiled)) == ("", True)


def test_a_line_that_names_no_subject_does_not_spoil_the_import() -> None:
    _, session = turns([text(STORY[:4]) + b"garbage\n"])
    assert session.shared.spoiled == ""
    assert session.subjects["a"].spoiled
    _, session = turns([text(STORY[:2]) + b"garbage\n"])  # the import's own turn
    assert session.shared.spoiled


def test_a_torn_last_line_was_never_said() -> None:
    _, session = turns([text(STORY[:4]) + b'{"event": "fini'])
    assert session.malformed == ""
    assert session.subjects["a"].finished == ()


def test_an_endless_line_is_malformed_before_it_ends() -> None:
    _, session = turns([text(STORY[:4]), *([b"x" * (1 << 19)] * 3)])
    assert "longer than" in session.malformed


def test_tail_reads_what_is_new_and_stops_at_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "events"
    tail = Tail(file, limit_bytes=10)
    assert tail.read() == b""
    file.write_bytes(b"abc")
    assert tail.read() == b"abc"
    with file.open("ab") as more:
        more.write(b"d" * 20)
    assert tail.read() == b"d" * 7
    assert "larger than 10 bytes" in tail.problem
    assert tail.read() == b""
    tail.close()


def test_tail_follows_no_link_and_reads_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("link", "is a link"), ("pipe", "not a regular file")):
        tail = Tail(tmp_path / name, limit_bytes=100)
        assert tail.read() == b""
        assert why in tail.problem
        tail.close()
