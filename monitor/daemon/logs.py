"""What the daemon says, as one JSON object a line where a machine reads it and as text where a person does."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from containers.lock import redacted
from monitor.progress import ConsoleProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.judge.observations import Finished
    from monitor.progress import Progress


def talk_in(form: Literal["auto", "text", "json"], out: TextIO | None = None) -> Progress:
    """Return how the daemon talks; ``auto`` is text on a terminal and JSON everywhere else."""
    out = out or sys.stderr
    return ConsoleProgress(out) if form == "text" or (form == "auto" and out.isatty()) else JsonProgress(out)


@dataclass(slots=True)
class JsonProgress:
    """Talk as JSON lines: ``at``, ``event``, and what belongs to it. A message holds no password of an address."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def message(self, sentence: str) -> None:
        self._write("said", message=redacted(sentence))

    def expect_subjects(self, subjects: int) -> None:
        self._write("expected", subjects=subjects)

    def check_finished(self, subject: str | None, check: Finished) -> None:
        if check.outcome == "passed":
            return  # thousands a day, and all of them are in the database
        self._write(
            "checked",
            subject=subject,
            check=check.check,
            outcome=str(check.outcome),
            seconds=round(check.seconds, 3),
            message=redacted(check.message[:500]),
        )

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None:
        self._write("probed", subject=subject, verdict=verdict, reason=redacted(reason), seconds=round(seconds, 3))

    def _write(self, event: str, **told: Any) -> None:
        line = json.dumps({"at": self.now().isoformat(timespec="milliseconds"), "event": event, **told})
        with suppress(OSError, ValueError):  # a log that nobody can take any more ends no measurement
            self.out.write(line + "\n")
            self.out.flush()
