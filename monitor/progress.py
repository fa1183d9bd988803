"""Reports what long work does, as log records on stderr: text for people, one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from containers.lock import redacted
from monitor.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.judge.observations import Finished

_CHECKS = (logging.DEBUG + logging.INFO) // 2  # the level of failed checks; that of passed ones is lower


def utc_now() -> datetime:
    return datetime.now(UTC)


class Progress(Protocol):
    """Takes progress. Every method returns at once and never raises."""

    def message(self, sentence: str) -> None: ...

    def expect_subjects(self, subjects: int) -> None:
        """Announce how many subjects the next sessions probe."""
        ...

    def check_finished(self, subject: str | None, check: Finished) -> None: ...

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None: ...


class _LoggedProgress:
    """Turns progress into log records: each has a sentence, an ``event`` and the event's ``fields``."""

    def __init__(self, out: TextIO, level: int, formatter: logging.Formatter) -> None:
        handler = _Handler(out)
        handler.setFormatter(formatter)
        # of its own: two in one process must not write to each other's stream
        self._logger = logging.Logger("settle", level)  # noqa: LOG001
        self._logger.addHandler(handler)
        self._began = 0.0
        self._left = self._all = 0

    def message(self, sentence: str) -> None:
        self._log(logging.INFO, sentence, "message", message=redacted(sentence))

    def expect_subjects(self, subjects: int) -> None:
        self._all = self._left = subjects
        self._began = time.monotonic()
        level = logging.INFO if subjects > 1 else _CHECKS
        self._log(level, f"probing {subjects} subjects: importing first", "expected", subjects=subjects)

    def check_finished(self, subject: str | None, check: Finished) -> None:
        reason = check.message.splitlines()[0][:160] if check.message else ""
        about = "" if subject is None else f"{subject}: "
        self._log(
            logging.DEBUG if check.outcome == "passed" else _CHECKS,
            f"  {about}{check.check} {check.outcome} ({check.seconds:.2f} s) {reason}".rstrip(),
            "checked",
            subject=subject,
            check=check.check,
            outcome=str(check.outcome),
            seconds=round(check.seconds, 3),
            message=redacted(check.message[:500]),
        )

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None:
        self._left = max(0, self._left - 1)
        done = self._all - self._left
        per_subject = (time.monotonic() - self._began) / max(1, done)
        left = f"{self._left} left, about {per_subject * self._left:.0f} s" if self._left else "none left"
        why = "" if verdict == "works" else f": {reason}"
        self._log(
            logging.INFO,
            f"[{done}/{self._all}] {subject} {verdict} ({seconds:.1f} s; {left}){why}",
            "probed",
            subject=subject,
            verdict=verdict,
            reason=redacted(reason),
            seconds=round(seconds, 3),
        )

    def _log(self, level: int, sentence: str, event: str, **fields: Any) -> None:
        self._logger.log(level, "%s", sentence, extra={"event": event, "fields": fields})


class ConsoleProgress(_LoggedProgress):
    """Progress as text; ``checks`` adds a line for every check."""

    def __init__(self, out: TextIO | None = None, *, checks: bool = False) -> None:
        super().__init__(out or sys.stderr, logging.DEBUG if checks else logging.INFO, _TextFormatter())


class JsonProgress(_LoggedProgress):
    """Progress as JSON lines: ``at``, ``event``, and the event's fields, without passwords of addresses.

    Passed checks are left out: there are thousands a day, and all of them are in the database.
    """

    def __init__(self, out: TextIO | None = None, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__(out or sys.stderr, _CHECKS, _JsonFormatter(now))


def progress_in(form: Literal["auto", "text", "json"], out: TextIO | None = None) -> Progress:
    """Return progress in a form; ``auto`` is text on a terminal and JSON elsewhere."""
    text = form == "text" or (form == "auto" and (out or sys.stderr).isatty())
    return ConsoleProgress(out) if text else JsonProgress(out)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore a log that takes no more lines: it ends no measurement."""


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        return f"{time.monotonic() - self._began:6.1f} s  {printable(record.getMessage())}"


class _JsonFormatter(logging.Formatter):
    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._now = now

    def format(self, record: logging.LogRecord) -> str:
        values = vars(record)
        at = self._now().isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "event": values["event"], **values["fields"]})
