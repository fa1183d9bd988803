"""The kinds of alerts, and the frozen values that one alert is made from; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from monitor.domain import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from monitor.config.settings import Target
    from monitor.domain import CellVerdict
    from monitor.judge.lock_diff import Moved
    from monitor.report.evidence import DayEvidence
    from monitor.store import Track


class Kind(StrEnum):
    NEWLY_WORKS = "newly works"
    NEWLY_STABLE = "newly stable"
    REGRESSION = "regression"
    SETBACK = "setback"  # broke before it was stable
    RESTORED = "restored"
    BREAKS_MANY = "breaks many"
    FLAPPING = "flapping"
    CALM = "calm again"
    CHANGED = "changed"  # only in the digest
    WITHDRAWN = "withdrawn"  # it was announced, and a later judgement has withdrawn it
    NEW_MODEL = "new model"
    NEW_LAYOUT = "new layout"  # of published weights
    TROUBLE = "trouble"
    TROUBLE_OVER = "trouble over"
    DIGEST = "digest"
    TEST = "test"

    @property
    def severity(self) -> Severity:
        return _SEVERITIES.get(self, Severity.INFO)


_SEVERITIES = {
    Kind.REGRESSION: Severity.FAILURE,
    Kind.BREAKS_MANY: Severity.FAILURE,
    Kind.TROUBLE: Severity.FAILURE,
    Kind.SETBACK: Severity.WARNING,
    Kind.FLAPPING: Severity.WARNING,
}
SETS_BACK = (Kind.REGRESSION, Kind.SETBACK)


@dataclass(frozen=True, slots=True)
class FlipEvidence:
    """A confirmed change of verdict, with the evidence of its day and of the last valid day before it."""

    id: int
    day: date
    before: CellVerdict
    after: CellVerdict
    confirmed: date
    announced: bool
    since: DayEvidence | None = None
    last: DayEvidence | None = None
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True, slots=True)
class CellHistory:
    """One cell with all its flips, oldest first; ``new_model`` where the model is newer than the first alert."""

    track: Track
    flips: tuple[FlipEvidence, ...] = ()
    new_model: bool = False


@dataclass(frozen=True, slots=True)
class NewModel:
    id: str
    organisation: str
    architecture: str
    released: str


@dataclass(frozen=True, slots=True)
class NewLayout:
    """Published weights that are laid out otherwise than before, or otherwise than in the model's miniature."""

    model: str
    organisation: str
    revision: str
    key: str
    line: str
    sentences: tuple[str, ...]
    day: str


@dataclass(frozen=True, slots=True)
class WithdrawnFlip:
    """An announced flip that no longer holds."""

    cell: str
    subject: str
    model: str
    organisation: str
    runtime: str
    day: str
    after: str


class TroubleArea(StrEnum):
    DAEMON = "daemon"  # one of its steps
    MEASURING = "measuring"  # in one runtime on one platform
    SILENCE = "silence"
    TARGET = "target"  # of alerts


class TroubleId(NamedTuple):
    """The identity of a trouble for as long as it lasts."""

    area: TroubleArea
    name: str = ""

    def __str__(self) -> str:
        return f"{self.area} {self.name}".rstrip()

    @classmethod
    def parse(cls, text: str) -> TroubleId:
        area, _, name = text.partition(" ")
        return cls(TroubleArea(area), name)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps Settle from measuring or from sending."""

    id: TroubleId
    sentence: str
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One announcement. ``key`` is announced once; ``flips`` are the flips that it announces."""

    key: str
    kind: Kind
    line: str  # in one sentence
    day: str = ""
    flips: tuple[int, ...] = ()
    model: str = ""
    subject: str = ""
    organisation: str = ""
    runtime: str = ""
    version: str = ""
    signature: str = ""
    facts: tuple[tuple[str, str], ...] = ()  # name to value, as shown below the line
    not_to: str = ""  # the target that it is about

    def passes(self, target: Target) -> bool:
        """Return whether the target's filters pass it; an item without runtime or organisation passes them all."""
        organisations = {name.lower() for name in target.organisations}
        return (
            self.not_to != target.name
            and (not self.runtime or not target.runtimes or self.runtime in target.runtimes)
            and (not self.organisation or not organisations or self.organisation.lower() in organisations)
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """One message: items that belong together. ``models`` counts them before a target's filters."""

    kind: Kind
    items: tuple[Item, ...]
    models: int = 1

    def for_target(self, target: Target) -> Alert | None:
        """Return the alert with the items that the target's filters pass, None without any."""
        if self.kind is Kind.CHANGED or (target.severities and self.kind.severity not in target.severities):
            return None
        items = tuple(item for item in self.items if item.passes(target))
        return replace(self, items=items) if items else None


@dataclass(frozen=True, slots=True)
class AlertInputs:
    """What alerts are detected in. ``announced`` holds the keys of earlier announcements."""

    began: date
    announced: frozenset[str]
    histories: Sequence[CellHistory] = ()
    new_models: Sequence[NewModel] = ()
    new_layouts: Sequence[NewLayout] = ()
    withdrawn: Sequence[WithdrawnFlip] = ()
    troubles: Sequence[Trouble] = ()
    fine: frozenset[TroubleId] = frozenset()  # known not to be a trouble now
    open_troubles: Mapping[TroubleId, str] = field(default_factory=dict)  # with their sentences
    stamp: str = ""  # of now: the next trouble of the same id has another key
