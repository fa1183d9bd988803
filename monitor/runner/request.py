"""What is to be measured: the subjects, the release, the moment and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from monitor.domain import Channel, Origin, Runtime, Subject


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What is to be measured: which subjects, in which release as of which moment, and what the answer is for."""

    runtime: Runtime
    channel: Channel
    version: str  # "" is the newest that a user gets
    day: date
    cutoff: datetime
    origin: Origin
    subjects: Sequence[Subject]
    force: bool = False  # probe even where nothing has changed
    seed: int = 0  # of everything random in a probe
    beside: tuple[str, ...] = ()  # other packages pinned by hand, as name==version

    def told(self, version: str) -> str:
        """Return the version as it is recorded: with other packages pinned, it is no answer for the release itself."""
        return " ".join((version, "with", *self.beside)) if self.beside else version
