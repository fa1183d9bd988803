"""Appends events to the events file: one bounded, strict JSON object a line, flushed before anything else happens."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any, NamedTuple

from probes.wire import MAX_LINE_BYTES, MAX_MESSAGE_CHARS, OUR_BUG_EXIT

_MAX_TEXT_CHARS = 2000
_MAX_ITEMS = 400
_MAX_DEPTH = 8


class Events:
    """The events file, written by one process: a forked child writes into the pipe that its relay gives it."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(path, flags, 0o644)
        self._began = time.monotonic()

    def append(self, event: str, **fields: Any) -> None:
        self.write(_line({"event": event, "at": round(time.monotonic() - self._began, 4), **fields}))

    def write(self, line: bytes) -> None:
        """Write a whole line as it is."""
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:  # no disk, no quota: nothing more can be written
            sys.stderr.write(f"the events file cannot be written: {error}\n")
            raise SystemExit(OUR_BUG_EXIT) from error

    def redirect(self, descriptor: int) -> None:
        """Write into another file from now on, and let go of this one."""
        os.dup2(descriptor, self._descriptor, inheritable=False)

    def started(self, subject: str | None, check: str) -> None:
        self.append("started", subject=subject, check=check)

    def finished(self, subject: str | None, check: str, answer: Answer, seconds: float) -> None:
        bounded = answer._replace(message=answer.message[:MAX_MESSAGE_CHARS])
        self.append("finished", subject=subject, check=check, seconds=round(seconds, 4), **bounded._asdict())

    def fact(self, subject: str | None, name: str, value: Any) -> None:
        self.append("fact", subject=subject, name=name, value=value)


class Answer(NamedTuple):
    """What one check found: passed, failed with a fault, or skipped with a reason."""

    outcome: str
    fault: str | None
    message: str
    evidence: dict[str, Any]


def passed(message: str = "", **evidence: Any) -> Answer:
    return Answer("passed", None, message, evidence)


def failed(fault: str, message: str, **evidence: Any) -> Answer:
    return Answer("failed", fault, message, evidence)


def skipped(reason: str, **evidence: Any) -> Answer:
    return Answer("skipped", None, reason, evidence)


def few(names: list[str]) -> str:
    """Return the first names and how many more there are, for a message."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 -- as above


def _line(event: dict[str, Any]) -> bytes:
    line = _encoded(plain(event))
    if len(line) <= MAX_LINE_BYTES:
        return line
    # a runtime decides how large its evidence is; the line must stay readable whatever it does
    shortened = {key: value for key, value in event.items() if key not in {"evidence", "value"}}
    shortened["evidence" if "evidence" in event else "value"] = {"dropped_bytes": len(line)}
    return _encoded(plain(shortened))


def _encoded(event: Any) -> bytes:
    text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def plain(value: Any, depth: int = 0) -> Any:
    """Return the value as strict JSON can say it: bounded, and with non-finite numbers spelt out."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str) or depth >= _MAX_DEPTH:
        text = str(value).encode("utf-8", "replace").decode()
        return text if len(text) <= 2 * _MAX_TEXT_CHARS else text[:_MAX_TEXT_CHARS] + "…" + text[-_MAX_TEXT_CHARS:]
    if isinstance(value, dict):
        items = list(value.items())
        kept = {plain(str(key)): plain(item, depth + 1) for key, item in items[:_MAX_ITEMS]}
        if len(items) > _MAX_ITEMS:
            kept["…"] = len(items) - _MAX_ITEMS
        return kept
    if isinstance(value, (list, tuple, set, frozenset)):
        members = sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)
        rest = [f"… {len(members) - _MAX_ITEMS} more"] if len(members) > _MAX_ITEMS else []
        return [plain(item, depth + 1) for item in members[:_MAX_ITEMS]] + rest
    return plain(str(value))
