"""Carries the events of a subject's process to the process that writes them all: a subject speaks for itself alone."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path

from probes.events import Events
from probes.wire import MAX_LINE_BYTES

_PIECE_BYTES = 1 << 16
_MOST_PIECES = 64
_OF_A_SUBJECT = ("started", "finished", "fact")  # what else there is, the watching process writes
_PR_SET_DUMPABLE = 4


class Relay:
    """A pipe from the process of one turn; ``subjects`` are those that its events may name."""

    def __init__(self, events: Events, subjects: tuple[str | None, ...]) -> None:
        self._events = events
        self._subjects = subjects
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._torn = b""
        self.open = True

    def fileno(self) -> int:
        return self._reading

    def begin_in_child(self) -> None:
        """Let the events object of this process write into the pipe, and lose the file."""
        self._events.redirect(self._writing)
        os.close(self._writing)
        os.close(self._reading)

    def begin_in_parent(self) -> None:
        os.close(self._writing)

    def pump(self) -> None:
        """Write what has come by now; a line that this subject may not write ends what is believed of the session."""
        try:
            data = os.read(self._reading, _PIECE_BYTES)
        except BlockingIOError:
            self.open = False  # asked for the rest, and there is none
            return
        self.open = bool(data)
        *lines, self._torn = (self._torn + data).split(b"\n")
        for line in lines:
            self._forward(line)
        if len(self._torn) > MAX_LINE_BYTES:
            self._forward(self._torn)
            self._torn = b""

    def finish(self) -> None:
        """Write what is left in the pipe once the process has ended; a torn last line does not count."""
        self.open = True
        for _ in range(_MOST_PIECES):  # more than any pipe holds: something that outlives its turn may still write
            if self.open:
                self.pump()
        os.close(self._reading)

    def _forward(self, line: bytes) -> None:
        if len(line) <= MAX_LINE_BYTES and self._may_write(line):
            self._events.write(line + b"\n")
        else:
            self._events.append("refused", subject=next((each for each in self._subjects if each), None))

    def _may_write(self, line: bytes) -> bool:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return False
        known = isinstance(event, dict) and event.get("event") in _OF_A_SUBJECT
        return known and event.get("subject") in self._subjects


def close_off(events_file: str) -> None:
    """Keep the events file for this process: no other one of this container can reach it from now on.

    Its name goes, for it is held open outside; and what this process holds open, no process of the same user can see.
    """
    Path(events_file).unlink()
    set_dumpable(False)


def set_dumpable(dumpable: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)
