"""What a session's events contain, as frozen values: the judge's input, free of files and of untrusted types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.domain import Ending


@dataclass(frozen=True, slots=True)
class Finished:
    check: str
    outcome: str  # "passed", "failed" or "skipped"
    seconds: float
    fault: str = ""
    message: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class SubjectNotes:
    """The events of one subject; of the session itself (the import) where ``subject`` is None."""

    subject: str | None
    started: tuple[str, ...] = ()
    finished: tuple[Finished, ...] = ()
    facts: tuple[Fact, ...] = ()
    died: Ending | None = None
    seconds: float = 0.0  # from its first event to its last
    spoiled: str = ""  # why nothing in it can be trusted; "" when the record is whole


@dataclass(frozen=True, slots=True)
class Session:
    """One events file, read. ``subjects`` holds every requested subject, in the request's order."""

    announced: bool  # whether its first event came
    shared: SubjectNotes  # of the session itself: the import, which serves every subject
    subjects: Mapping[str, SubjectNotes]
    malformed: str = ""  # the first thing wrong with the file; what came before it is kept
