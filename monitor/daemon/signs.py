"""Talk that counts as a sign of life: what is said in the middle of long work shows that it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.judge.observations import Finished
    from monitor.progress import Progress


@dataclass(frozen=True, slots=True)
class HeartbeatProgress:
    """Passes everything on, and gives a sign each time."""

    progress: Progress
    sign: Callable[[], object]

    def message(self, sentence: str) -> None:
        self.sign()
        self.progress.message(sentence)

    def expect_subjects(self, subjects: int) -> None:
        self.sign()
        self.progress.expect_subjects(subjects)

    def check_finished(self, subject: str | None, check: Finished) -> None:
        self.sign()
        self.progress.check_finished(subject, check)

    def subject_finished(self, subject: str, verdict: str, reason: str, seconds: float) -> None:
        self.sign()
        self.progress.subject_finished(subject, verdict, reason, seconds)
