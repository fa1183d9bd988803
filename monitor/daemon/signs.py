"""Talk that counts as a sign of life: what is said in the middle of long work shows that it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.judge.observations import Finished
    from monitor.progress import Talk


@dataclass(frozen=True, slots=True)
class Signs:
    """Passes everything on, and gives a sign each time."""

    talk: Talk
    sign: Callable[[], object]

    def say(self, sentence: str) -> None:
        self.sign()
        self.talk.say(sentence)

    def expect(self, subjects: int) -> None:
        self.sign()
        self.talk.expect(subjects)

    def heard(self, subject: str | None, check: Finished) -> None:
        self.sign()
        self.talk.heard(subject, check)

    def over(self, subject: str, verdict: str, reason: str, seconds: float) -> None:
        self.sign()
        self.talk.over(subject, verdict, reason, seconds)
