"""What can be told: kinds of news, and the frozen values that one message is made of; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.domain import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

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
    CHANGED = "changed"  # told by the digest alone
    WITHDRAWN = "withdrawn"  # it was told, and judging again has taken it back
    NEW_MODEL = "new model"
    TROUBLE = "trouble"
    TROUBLE_OVER = "trouble over"
    DIGEST = "digest"
    TEST = "test"


_SEVERITIES = {
    Kind.REGRESSION: Severity.FAILURE,
    Kind.BREAKS_MANY: Severity.FAILURE,
    Kind.TROUBLE: Severity.FAILURE,
    Kind.SETBACK: Severity.WARNING,
    Kind.FLAPPING: Severity.WARNING,
}


def severity_of(kind: Kind) -> Severity:
    return _SEVERITIES.get(kind, Severity.INFO)


@dataclass(frozen=True, slots=True)
class FlipSeen:
    """A confirmed change of verdict with what stands behind it; ``last`` is the day before it that said anything."""

    id: int
    day: date
    before: CellVerdict
    after: CellVerdict
    confirmed: date
    announced: bool
    told: DayEvidence | None = None
    last: DayEvidence | None = None
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """One cell with all its flips, oldest first; ``new_model`` where the model came after alerts began."""

    track: Track
    flips: tuple[FlipSeen, ...] = ()
    new_model: bool = False


@dataclass(frozen=True, slots=True)
class NewModel:
    id: str
    organisation: str
    architecture: str
    released: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A flip that people were told of, and that does not hold any more."""

    cell: str
    subject: str
    model: str
    organisation: str
    runtime: str
    day: str
    after: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps the watcher from watching; the slug names it as long as it lasts."""

    slug: str
    sentence: str
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is told. ``key`` is told once and never again; ``flips`` are thereby announced."""

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


@dataclass(frozen=True, slots=True)
class Alert:
    """One message: items that belong together. ``models`` counts them before any were left out for a target."""

    kind: Kind
    items: tuple[Item, ...]
    models: int = 1


@dataclass(frozen=True, slots=True)
class Rules:
    flap_days: int = 7
    many: int = 3  # models that one release breaks, to be told in one message


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked at to find news. ``announced`` holds keys already told, ``open_troubles`` slug to sentence."""

    began: date
    announced: frozenset[str]
    histories: Sequence[History] = ()
    new_models: Sequence[NewModel] = ()
    taken_back: Sequence[TakenBack] = ()
    troubles: Sequence[Trouble] = ()
    fine: frozenset[str] = frozenset()  # slugs of which it is known that they are no trouble
    open_troubles: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""  # of now, to tell one trouble from the next of the same name
