"""One line from a container is taken exactly as agreed, or refused with a sentence; no other exception comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.judge.faults import BLAME
from monitor.wire.events import FactEvent, FinishedEvent, MalformedEventError, StartedEvent, parse_event
from probes import wire

STARTED = {"event": "started", "at": 1.0, "subject": "a", "check": "loads.model"}
FINISHED = {**STARTED, "event": "finished", "outcome": "passed", "seconds": 0.1}


def line(event: dict[str, Any], changes: dict[str, Any] | None = None, **more: Any) -> bytes:
    return json.dumps(event | (changes or {}) | more).encode()


def test_what_is_agreed_is_taken() -> None:
    assert parse_event(line(STARTED)) == StartedEvent(event="started", at=1.0, subject="a", check="loads.model")
    taken = parse_event(line(FINISHED, outcome="failed", fault="load-error", message="no", evidence={"a": [1, None]}))
    assert isinstance(taken, FinishedEvent)
    assert taken.evidence == {"a": [1, None]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event": "rumour"}, "does not match any of the expected tags"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"at": "1"}, "at: Input should be a valid number"),
        ({"at": -1}, "at: Input should be greater than or equal to 0"),
        ({"at": True}, "at: Input should be a valid number"),
        ({"check": "loads.everything"}, "no check is called 'loads.everything'"),
        ({"check": "installs.imports"}, "installs.imports is not a check of a subject"),
        ({"subject": None}, "loads.model is not a check of the session"),
        ({"subject": ""}, "at least 1 character"),
        ({"subject": "a" * 300}, "at most 200 characters"),
        ({"outcome": "won"}, "outcome"),
        ({"outcome": "failed"}, "outcome failed with fault None"),
        ({"fault": "load-error"}, "outcome passed with fault load-error"),
        ({"outcome": "failed", "fault": "bad-luck"}, "no fault is called 'bad-luck'"),
        ({"message": "x" * (wire.MAX_MESSAGE_CHARS + 1)}, "at most 4000 characters"),
        ({"evidence": []}, "evidence"),
    ],
)
def test_anything_else_is_malformed(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedEventError, match=said):
        parse_event(line(FINISHED, changes))


@pytest.mark.parametrize("fault", sorted(BLAME.keys() - wire.FAULTS))
def test_a_probe_cannot_claim_what_only_the_monitor_sees(fault: str) -> None:
    with pytest.raises(MalformedEventError, match="may not claim"):
        parse_event(line(FINISHED, outcome="failed", fault=fault))


def test_a_fault_of_an_older_probe_has_its_name_of_today() -> None:
    event = parse_event(line(FINISHED, outcome="failed", fault="bench-memory"))
    assert isinstance(event, FinishedEvent)
    assert event.fault == "infra-memory"


def test_every_fault_that_a_probe_may_claim_has_a_blame() -> None:
    assert BLAME.keys() > wire.FAULTS


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"event": "fact", "at": NaN, "subject": null, "name": "n", "value": 1}',
        b'{"event": "fact", "at": 1, "subject": null, "name": "n", "value": Infinity}',
        b'{"event": "fact", "at": 1, "subject": null, "name": "n", "value": 1e999}',
        b'{"event": "fact", "at": 1, "subject": null, "name": "n", "value": ' + b"9" * 5000 + b"}",
        b'"' + b"x" * wire.MAX_LINE_BYTES + b'"',
    ],
)
def test_no_bytes_are_too_strange(raw: bytes) -> None:
    with pytest.raises(MalformedEventError):
        parse_event(raw)


@pytest.mark.parametrize("escaped", [b'"\\u001b"', b"1"])
@pytest.mark.parametrize("depth", [70, 400, 950])
def test_what_json_can_nest_and_we_cannot_walk_is_malformed(depth: int, escaped: bytes) -> None:
    nested = b"[" * depth + escaped + b"]" * depth
    with pytest.raises(MalformedEventError, match="nested too deeply"):
        parse_event(b'{"event": "fact", "at": 1, "subject": null, "name": "n", "value": ' + nested + b"}")


def test_many_containers_beside_each_other_are_not_deep() -> None:
    fact = parse_event(line({"event": "fact", "at": 1, "subject": "a", "name": "n", "value": [[1]] * 500}))
    assert isinstance(fact, FactEvent)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(MalformedEventError):
        parse_event(raw)


@given(st.text(max_size=50))
def test_what_may_not_be_shown_is_replaced(text: str) -> None:
    fact = parse_event(line({"event": "fact", "at": 1, "subject": "a", "name": "n", "value": {"deep": [text]}}))
    assert isinstance(fact, FactEvent)
    shown = fact.value["deep"][0]
    assert len(shown) == len(text)
    assert not set(shown) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E, *range(0xD800, 0xE000)]))
    shown.encode()


def test_an_escape_sequence_does_not_reach_a_terminal() -> None:
    fact = parse_event(line({"event": "fact", "at": 1, "subject": "a", "name": "n", "value": "\x1b[2Jgone\nkept\t"}))
    assert isinstance(fact, FactEvent)
    assert fact.value == "\N{REPLACEMENT CHARACTER}[2Jgone\nkept\t"
