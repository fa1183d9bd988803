"""Reads the events of a session while they are written, and hands over each subject as its turn ends."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from monitor.domain import Ending
from monitor.judge.observations import Fact, Finished, Session, SubjectNotes
from monitor.wire.events import (
    DiedEvent,
    DoneEvent,
    Event,
    FactEvent,
    FinishedEvent,
    MalformedEventError,
    SessionEvent,
    StartedEvent,
    parse_event,
)
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_KEPT_OF_MALFORMED = 2000
_PIECE_BYTES = 1 << 20


class Tail:
    """Follows a file that an untrusted process writes: a regular file only, no links followed, bounded.

    ``problem`` says why the rest of the file is not read, or is empty. The file is opened when it first appears and
    held: what is put in its place later is never read.
    """

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self._path = path
        self._left = limit_bytes
        self._limit = limit_bytes
        self._descriptor = -1
        self.problem = ""

    def read(self) -> bytes:
        """Return up to a megabyte of what has been written since the last call, or nothing."""
        if self.problem or (self._descriptor < 0 and not self._open()):
            return b""
        data = os.read(self._descriptor, min(_PIECE_BYTES, self._left + 1))
        if len(data) > self._left:
            self.problem = f"the events file is larger than {self._limit} bytes"
            data = data[: self._left]
        self._left -= len(data)
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> bool:
        try:
            # O_NONBLOCK: a named pipe left in the file's place must not hold the daemon
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            link = error.errno == errno.ELOOP
            self.problem = "the events file is a link" if link else f"the events file cannot be read: {error.strerror}"
            return False
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self.problem = "the events file is not a regular file"
            return False
        self._descriptor = descriptor
        return True


@dataclass(frozen=True, slots=True)
class SubjectEvents:
    """The session as far as it concerns one subject, and the raw lines that prove it."""

    subject: str
    session: Session
    raw: bytes


class Listener:
    """Takes the events file's bytes as they come, in pieces of any size; never raises for their content.

    ``check_finished`` is called for each finished check, ``subject_finished`` for each subject whose turn has ended.
    """

    def __init__(
        self,
        requested: Iterable[str],
        *,
        check_finished: Callable[[str | None, Finished], None] | None = None,
        subject_finished: Callable[[SubjectEvents], None] | None = None,
    ) -> None:
        self._requested = tuple(requested)
        self._order = _Order(self._requested)
        self._check_finished, self._subject_finished = check_finished, subject_finished
        self._torn = b""
        self._raw: dict[str | None, bytearray] = {None: bytearray()}
        self._handed: set[str] = set()
        self._lines = 0
        self._malformed = ""

    def feed(self, data: bytes) -> None:
        """Take more of the file. After the first malformed line nothing more is believed."""
        if self._malformed:
            return
        *lines, self._torn = (self._torn + data).split(b"\n")
        for line in lines:
            self._take(line)
            if self._malformed:
                return
        if len(self._torn) > wire.MAX_LINE_BYTES:
            self._take(self._torn)
            self._torn = b""

    def close(self, problem: str = "") -> Session:
        """Return the whole session. A torn last line is what a kill leaves behind: it does not count.

        ``problem`` is what is wrong with the file that these bytes are from, "" where nothing is.
        """
        self._malformed = problem or self._malformed
        for subject in self._requested:
            self._hand_over(subject)
        return self._order.session(self._malformed)

    def _take(self, line: bytes) -> None:
        self._lines += 1
        before = self._order.current
        try:
            event = parse_event(line)
            self._order.take(event)
        except MalformedEventError as error:
            self._malformed = f"line {self._lines} of the events file: {error}"
            self._order.touch(_subject_named_in(line))
            self._keep(self._order.current, line[:_KEPT_OF_MALFORMED])
            return
        if not isinstance(event, DoneEvent):  # the end of the session belongs to no subject
            self._keep(None if isinstance(event, SessionEvent) else self._order.current, line)
        if isinstance(event, FinishedEvent) and self._check_finished:
            self._check_finished(event.subject, _finished(event))
        if before is not None and (before != self._order.current or isinstance(event, DiedEvent | DoneEvent)):
            self._hand_over(before)

    def _keep(self, subject: str | None, line: bytes) -> None:
        self._raw.setdefault(subject, bytearray()).extend(line + b"\n")

    def _hand_over(self, subject: str) -> None:
        if self._subject_finished is None or subject in self._handed:
            return
        self._handed.add(subject)
        whole = self._order.session(self._malformed)
        session = replace(whole, subjects={subject: whole.subjects[subject]})
        raw = bytes(self._raw[None] + self._raw.get(subject, b""))
        self._subject_finished(SubjectEvents(subject, session, raw))


def read_events(data: bytes, requested: Iterable[str], problem: str = "") -> Session:
    """Return what a whole events file says about the ``requested`` subjects, up to its first malformed line."""
    listener = Listener(requested)
    listener.feed(data)
    return listener.close(problem)


@dataclass(slots=True)
class _Notes:
    """The events of one subject so far."""

    started: list[str] = field(default_factory=list)
    finished: dict[str, Finished] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    died: Ending | None = None
    first_at: float | None = None
    last_at: float = 0.0

    def frozen(self, subject: str | None, spoiled: str) -> SubjectNotes:
        return SubjectNotes(
            subject=subject,
            started=tuple(self.started),
            finished=tuple(self.finished.values()),
            facts=tuple(self.facts),
            died=self.died,
            seconds=max(0.0, self.last_at - (self.first_at or 0.0)),
            spoiled=spoiled,
        )


class _Order:
    """The order of events, held to the rules: one subject at a time, each check begun once and ended once."""

    def __init__(self, requested: Iterable[str]) -> None:
        self._notes: dict[str | None, _Notes] = {None: _Notes()} | {subject: _Notes() for subject in requested}
        self._announced = False
        self.current: str | None = None
        self._touched: set[str | None] = set()
        self._done = False

    def take(self, event: Event) -> None:
        if self._done:
            raise MalformedEventError(f"{event.event} after done")
        match event:
            case SessionEvent():
                if event.wire != wire.WIRE:
                    raise MalformedEventError(f"wire version {event.wire}, expected {wire.WIRE}")
                if self._announced:
                    raise MalformedEventError("a second session event")
                self._announced = True
            case DoneEvent():
                self._done = True
            case StartedEvent() | FinishedEvent() | FactEvent() | DiedEvent():
                self._note(event, self._turn_to(event))
            case _:
                assert_never(event)

    def touch(self, subject: str | None) -> None:
        """Mark whom a malformed line concerns: whose turn it was, and who is named in it."""
        self._touched |= {self.current} | ({subject} - {None})  # a line may name no subject, and no import is meant

    def session(self, malformed: str) -> Session:
        """Return what was taken. Where the file is malformed, who was touched and who never came is spoiled."""
        # a problem of the file as a whole concerns the turn in progress, and no import that is done
        touched = self._touched | ({self.current} - {None})
        frozen = {
            subject: notes.frozen(subject, malformed if subject in touched or notes.first_at is None else "")
            for subject, notes in self._notes.items()
        }
        return Session(
            announced=self._announced,
            shared=frozen[None],
            subjects={subject: notes for subject, notes in frozen.items() if subject is not None},
            malformed=malformed,
        )

    def _turn_to(self, event: StartedEvent | FinishedEvent | FactEvent | DiedEvent) -> _Notes:
        subject = event.subject
        if subject not in self._notes:
            raise MalformedEventError(f"subject {subject!r} was not requested")
        if subject is not None and not self._announced:
            raise MalformedEventError("a subject before the session event")
        notes = self._notes[subject]
        if subject != self.current and (notes.first_at is not None or subject is None):
            raise MalformedEventError(f"{subject or 'the session'} again after its turn")
        if notes.died is not None:
            raise MalformedEventError(f"{event.event} after died")
        self.current = subject
        notes.first_at = event.at if notes.first_at is None else notes.first_at
        notes.last_at = event.at
        return notes

    @staticmethod
    def _note(event: StartedEvent | FinishedEvent | FactEvent | DiedEvent, notes: _Notes) -> None:
        match event:
            case StartedEvent():
                if event.check in notes.started:
                    raise MalformedEventError(f"{event.check} started twice")
                if len(notes.started) > len(notes.finished):
                    raise MalformedEventError(f"{event.check} started inside {notes.started[-1]}")
                notes.started.append(event.check)
            case FinishedEvent():
                if event.check in notes.finished:
                    raise MalformedEventError(f"{event.check} finished twice")
                if event.check not in notes.started:
                    raise MalformedEventError(f"{event.check} finished and never started")
                notes.finished[event.check] = _finished(event)
            case FactEvent():
                if len(notes.facts) >= wire.MAX_FACTS:
                    raise MalformedEventError(f"more than {wire.MAX_FACTS} facts")
                notes.facts.append(Fact(event.name, event.value))
            case DiedEvent():
                notes.died = Ending(**event.model_dump(exclude={"at", "event", "subject"}))
            case _:
                assert_never(event)


def _finished(event: FinishedEvent) -> Finished:
    return Finished(event.check, event.outcome, event.seconds, event.fault or "", event.message, event.evidence)


def _subject_named_in(line: bytes) -> str | None:
    """Return the subject that a malformed line names, if it can be read."""
    if len(line) > wire.MAX_LINE_BYTES:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    subject = value.get("subject") if isinstance(value, dict) else None
    return subject if isinstance(subject, str) else None
