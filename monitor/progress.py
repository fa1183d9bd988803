"""What is said while long work goes on: lines for people, on stderr, that a log file reads as well as a screen."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from monitor.text import printable

if TYPE_CHECKING:
    from monitor.judge.observations import Finished


class Progress(Protocol):
    """Who is told of progress. Every method returns at once and never raises."""

    def message(self, sentence: str) -> None: ...

    def expect_subjects(self, subjects: int) -> None:
        """Announce how many subjects are about to be probed in one sitting."""
        ...

    def check_finished(self, subject: str | None, check: Finished) -> None: ...

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None: ...


@dataclass(slots=True)
class ConsoleProgress:
    """Talk as lines of text; ``checks`` adds a line for every check."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    checks: bool = False
    _began: float = field(default_factory=time.monotonic)
    _sitting: float = 0.0
    _left: int = 0
    _all: int = 0

    def message(self, sentence: str) -> None:
        self.out.write(f"{time.monotonic() - self._began:6.1f} s  {printable(sentence)}\n")
        self.out.flush()

    def expect_subjects(self, subjects: int) -> None:
        self._all = self._left = subjects
        self._sitting = time.monotonic()
        if subjects > 1:
            self.message(f"probing {subjects} subjects: importing first")

    def check_finished(self, subject: str | None, check: Finished) -> None:
        if self.checks:
            why = check.message.splitlines()[0][:160] if check.message else ""
            about = "" if subject is None else f"{subject}: "
            self.message(f"  {about}{check.check} {check.outcome} ({check.seconds:.2f} s) {why}".rstrip())

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None:
        self._left = max(0, self._left - 1)
        done = self._all - self._left
        spent = time.monotonic() - self._sitting
        left = f"{self._left} left, about {spent / done * self._left:.0f} s" if self._left else "none left"
        why = "" if verdict == "works" else f": {reason}"
        self.message(f"[{done}/{self._all}] {subject} {verdict} ({seconds:.1f} s; {left}){why}")
