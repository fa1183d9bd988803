"""Reads the events file that comes out of a container: untrusted, bounded, strict, and never an exception."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from monitor.judge.seen import Announcement, Fact, Finished, Said, Session
from monitor.words import Ending
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# C0 and C1 controls but newline and tab, lone surrogates, and what turns the reading direction around: none of them
# may reach a database, a terminal or a page
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MAYBE_UNPRINTABLE = re.compile(
    rb"\\[ubfr]|\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)

Name = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Event(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    at: Seconds


class _Session(_Event):
    event: Literal["session"]
    wire: int
    suite: Name
    runtime: Name
    version: Name
    python: Name
    imported: dict[Name, Annotated[str, Field(max_length=200)]] = Field(max_length=2000)


class _Started(_Event):
    event: Literal["started"]
    subject: Name | None
    check: Name


class _Finished(_Event):
    event: Literal["finished"]
    subject: Name | None
    check: Name
    outcome: Literal["passed", "failed", "skipped"]
    seconds: Seconds
    fault: Name | None = None
    message: Annotated[str, Field(max_length=wire.MAX_MESSAGE_CHARS)] = ""
    evidence: dict[Name, Any] = Field(default_factory=dict, max_length=1000)


class _Fact(_Event):
    event: Literal["fact"]
    subject: Name | None
    name: Name
    value: Any


class _Died(_Event):
    event: Literal["died"]
    subject: Name
    exit_code: int | None
    signal: Annotated[int, Field(ge=1, le=128)] | None
    timed_out: bool
    out_of_memory: bool
    seconds: Seconds
    peak_memory_bytes: Annotated[int, Field(ge=0, le=1 << 62)] | None


class _Done(_Event):
    event: Literal["done"]


_AnyEvent = Annotated[
    _Session | _Started | _Finished | _Fact | _Died | _Done,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[_AnyEvent] = TypeAdapter(_AnyEvent)


class _MalformedError(ValueError):
    """One sentence about what is wrong with a line; never leaves this module."""


@dataclass(frozen=True, slots=True)
class RawEvents:
    """The file's bytes, at most ``wire.MAX_EVENTS_BYTES``; ``problem`` says why they are not all, or none."""

    data: bytes
    problem: str = ""


def read_raw_events(path: Path) -> RawEvents:
    """Return the bytes of a regular file, following no link. A missing file is empty: the probe never began."""
    try:
        # O_NONBLOCK: a named pipe left in the file's place must not hold the daemon
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return RawEvents(b"")
    except OSError as error:
        link = error.errno == errno.ELOOP
        return RawEvents(
            b"", "the events file is a link" if link else f"the events file cannot be read: {error.strerror}"
        )
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return RawEvents(b"", "the events file is not a regular file")
        data = file.read(wire.MAX_EVENTS_BYTES + 1)
    if len(data) > wire.MAX_EVENTS_BYTES:
        return RawEvents(data[: wire.MAX_EVENTS_BYTES], f"the events file is larger than {wire.MAX_EVENTS_BYTES} bytes")
    return RawEvents(data)


def parse_events(raw: RawEvents, requested: Sequence[str]) -> Session:
    """Return what the session said about the ``requested`` subjects, up to the first malformed line."""
    reading = _Reading(requested)
    malformed = ""
    for number, line in enumerate(_lines(raw.data), start=1):
        try:
            reading.take(_event(line))
        except _MalformedError as error:
            malformed = f"line {number} of the events file: {error}"
            reading.touch(_subject_named_in(line))
            break
    return reading.session(malformed or raw.problem)


def _lines(data: bytes) -> Iterator[bytes]:
    """Yield whole lines. A torn last line is what a kill leaves behind: it was never said."""
    start = 0
    while (end := data.find(b"\n", start)) != -1:
        yield data[start:end]
        start = end + 1
    if len(data) - start > wire.MAX_LINE_BYTES:
        yield data[start:]


def _event(line: bytes) -> _AnyEvent:
    if len(line) > wire.MAX_LINE_BYTES:
        raise _MalformedError(f"longer than {wire.MAX_LINE_BYTES} bytes")
    try:
        value = json.loads(line.decode(), parse_float=_finite, parse_constant=_not_a_number)
    except RecursionError:
        raise _MalformedError("nested too deeply") from None
    except ValueError as error:
        raise _MalformedError(f"not JSON: {error}") from None
    if _MAYBE_UNPRINTABLE.search(line):
        value = _printable(value)
    try:
        event = _EVENT.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "event"
        raise _MalformedError(f"{where}: {first['msg']}") from None
    if isinstance(event, _Started | _Finished):
        _check_known(event.check, of_session=event.subject is None)
    if isinstance(event, _Finished):
        _check_fault(event)
    return event


def _check_known(check: str, *, of_session: bool) -> None:
    rung = wire.CHECKS[check][0] if check in wire.CHECKS else None
    if rung is None:
        raise _MalformedError(f"no check is called {check!r}")
    if of_session != (check == "installs.imports") or (rung == 0 and not of_session):
        raise _MalformedError(f"{check} is not a check of {'the session' if of_session else 'a subject'}")


def _check_fault(event: _Finished) -> None:
    if (event.outcome == "failed") != (event.fault is not None):
        raise _MalformedError(f"outcome {event.outcome} with fault {event.fault}")
    if event.fault is not None and event.fault not in wire.FAULTS:
        raise _MalformedError(f"no fault is called {event.fault!r}")
    if event.fault in wire.BENCH_ONLY:
        raise _MalformedError(f"a probe may not claim the fault {event.fault}")


@dataclass(slots=True)
class _Notes:
    """What has been said about one subject so far."""

    started: list[str] = field(default_factory=list)
    finished: dict[str, Finished] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    died: Ending | None = None
    first_at: float | None = None
    last_at: float = 0.0

    def said(self, subject: str | None, spoiled: str) -> Said:
        return Said(
            subject=subject,
            started=tuple(self.started),
            finished=tuple(self.finished.values()),
            facts=tuple(self.facts),
            died=self.died,
            seconds=max(0.0, self.last_at - (self.first_at or 0.0)),
            spoiled=spoiled,
        )


class _Reading:
    """The order of events, held to the rules: one subject at a time, each check begun once and ended once."""

    def __init__(self, requested: Iterable[str]) -> None:
        self._notes: dict[str | None, _Notes] = {None: _Notes()} | {subject: _Notes() for subject in requested}
        self._announced: Announcement | None = None
        self._current: str | None = None
        self._touched: set[str | None] = set()
        self._done = False

    def take(self, event: _AnyEvent) -> None:
        if self._done:
            raise _MalformedError(f"{event.event} after done")
        match event:
            case _Session():
                self._announce(event)
            case _Done():
                self._done = True
            case _Started() | _Finished() | _Fact() | _Died():
                self._note(event, self._turn_to(event))
            case _:
                assert_never(event)

    def touch(self, subject: str | None) -> None:
        """Mark whom a malformed line concerns: whose turn it was, and who is named in it."""
        self._touched |= {self._current, subject}

    def session(self, malformed: str) -> Session:
        """Return what was taken. Where the file is malformed, who was touched and who never came is spoiled."""
        spoiled = dict.fromkeys(self._notes, "")
        if malformed:
            for subject, notes in self._notes.items():
                if subject in self._touched or subject == self._current or notes.first_at is None:
                    spoiled[subject] = malformed
        said = {subject: notes.said(subject, spoiled[subject]) for subject, notes in self._notes.items()}
        return Session(
            announced=self._announced,
            own=said[None],
            subjects={subject: one for subject, one in said.items() if subject is not None},
            malformed=malformed,
            done=self._done,
        )

    def _announce(self, event: _Session) -> None:
        if event.wire != wire.WIRE:
            raise _MalformedError(f"wire version {event.wire}, expected {wire.WIRE}")
        if self._announced is not None:
            raise _MalformedError("a second session event")
        self._announced = Announcement(event.suite, event.runtime, event.version, event.python, dict(event.imported))

    def _turn_to(self, event: _Started | _Finished | _Fact | _Died) -> _Notes:
        subject = event.subject
        if subject not in self._notes:
            raise _MalformedError(f"subject {subject!r} was not requested")
        if subject is not None and self._announced is None:
            raise _MalformedError("a subject before the session event")
        notes = self._notes[subject]
        if subject != self._current and (notes.first_at is not None or subject is None):
            raise _MalformedError(f"{subject or 'the session'} again after its turn")
        if notes.died is not None:
            raise _MalformedError(f"{event.event} after died")
        self._current = subject
        notes.first_at = event.at if notes.first_at is None else notes.first_at
        notes.last_at = event.at
        return notes

    @staticmethod
    def _note(event: _Started | _Finished | _Fact | _Died, notes: _Notes) -> None:
        match event:
            case _Started():
                if event.check in notes.started:
                    raise _MalformedError(f"{event.check} started twice")
                if len(notes.started) > len(notes.finished):
                    raise _MalformedError(f"{event.check} started inside {notes.started[-1]}")
                notes.started.append(event.check)
            case _Finished():
                if event.check in notes.finished:
                    raise _MalformedError(f"{event.check} finished twice")
                if event.check not in notes.started:
                    raise _MalformedError(f"{event.check} finished and never started")
                notes.finished[event.check] = Finished(
                    event.check, event.outcome, event.seconds, event.fault or "", event.message, event.evidence
                )
            case _Fact():
                notes.facts.append(Fact(event.name, event.value))
            case _Died():
                notes.died = Ending(
                    exit_code=event.exit_code,
                    signal=event.signal,
                    timed_out=event.timed_out,
                    out_of_memory=event.out_of_memory,
                    seconds=event.seconds,
                    peak_memory_bytes=event.peak_memory_bytes,
                )
            case _:
                assert_never(event)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _not_a_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _printable(value: Any) -> Any:
    """Return ``value`` with what may not be shown replaced, in keys as in strings."""
    match value:
        case str():
            return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {_printable(key): _printable(item) for key, item in value.items()}
        case _:
            return value


def _subject_named_in(line: bytes) -> str | None:
    """Return whom a malformed line claims to be about, as far as that can be told."""
    if len(line) > wire.MAX_LINE_BYTES:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    subject = value.get("subject") if isinstance(value, dict) else None
    return subject if isinstance(subject, str) else None
