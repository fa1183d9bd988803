"""What is due now and why, what only needs carrying, and when to look again: from facts, budget and time; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from monitor.domain import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.domain import Channel, Runtime

A_DAY = timedelta(days=1)
YOUNG = timedelta(days=30)  # since its release a model is probed daily: as long as it takes to be established
LONGEST_PAUSE_DAYS = 28  # between two probes of what has not changed
RETRY_AFTER = timedelta(minutes=10)  # a fault of ours; each further one doubles it
RETRY_AT_MOST = timedelta(hours=6)
BUDGET_LOOK = timedelta(minutes=30)
_LEAST_S = 0.01  # a cell costs something, whatever was measured
_YOUNG_BEFORE_DAYS = 3.0  # so many days of waiting is a young model ahead of an old one


class Reason(StrEnum):
    """Why a cell is probed, the most urgent first; a day of waiting counts as one place."""

    RESUMED = "begun and not settled"
    NEW = "never probed"
    RELEASE = "a new release"
    REVISION = "the model's files have changed"
    PINS = "another version of a package that the probe imports"
    INFRA = "an infrastructure fault before"
    SUITE = "the probes have changed"
    YOUNG = "a young model is probed daily"
    ROUTINE = "its turn has come again, though nothing has changed"


_Due: TypeAlias = "dict[ReleaseLine, list[tuple[float, PlannedCell, Reason]]]"
_RANK = {reason: rank for rank, reason in enumerate(Reason)}


class ReleaseLine(NamedTuple):
    """One column of the matrix: its cells share an environment a day."""

    runtime: Runtime
    channel: Channel


@dataclass(frozen=True, slots=True)
class Offer:
    """What a user of a line gets now, as far as a probe imports it; ``pins`` that are equal are the same thing."""

    version: str
    pins: str
    suite: str


@dataclass(frozen=True, slots=True)
class LastDay:
    """The latest day of a cell; a carried one counts for what it is carried from."""

    day: date
    verdict: CellVerdict
    since: date  # first day of the verdict that has not changed since
    probed: date
    offer: Offer  # what it was measured in
    environment: str  # the lock that gave it
    subject: str  # digest of the files that were measured
    open: bool = False  # begun, and not confirmed yet
    spoiled: int = 0  # runs of the day, where its fault is ours and may be gone another time
    last_run_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell with its latest day, where it was measured."""

    subject_id: str
    line: ReleaseLine
    born: date  # when the model was released, or else first seen
    digest: str  # of the subject's files now
    latest: LastDay | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How many seconds probing may take: in a slice before all is weighed again, and in what is left of today.

    ``spent`` is what each line has had within a day, ``cell_s`` what a cell of it takes.
    """

    slice_s: float
    left_s: float
    spent: Mapping[ReleaseLine, float]
    cell_s: Mapping[ReleaseLine, float]


@dataclass(frozen=True, slots=True)
class Job:
    """Cells of one line that are probed together, the most urgent first, each with its reason."""

    line: ReleaseLine
    wanted: tuple[tuple[str, Reason], ...]  # subject, why
    seconds: float  # estimated


@dataclass(frozen=True, slots=True)
class Plan:
    jobs: tuple[Job, ...]
    carried: Mapping[ReleaseLine, tuple[str, ...]]  # subjects for which nothing has changed today
    waiting: Mapping[Reason, int]  # due, and not within this slice
    again_at: datetime  # nothing becomes due before, unless a fact does


def plan(cells: Sequence[PlannedCell], offers: Mapping[ReleaseLine, Offer], budget: Budget, now: datetime) -> Plan:
    """Decide what to do in the next slice of time.

    A line without an offer is left alone: what a user would get is unknown. A young model's first probe comes before
    all else. Then lines take turns by what they have had, the least first, so that none starves; within a line, the
    cell that waits longest is the most urgent.
    """
    today = now.astimezone(UTC).date()
    known = [cell for cell in cells if cell.line in offers]
    first: _Due = {}
    due: _Due = {}
    for cell in known:
        reason = why_due(cell, offers[cell.line], now)
        if reason is not None:
            newborn = reason is Reason.NEW and _young(cell, today)
            row = (first if newborn else due).setdefault(cell.line, [])
            row.append((_urgency(cell, reason, today), cell, reason))
    jobs = tuple(_jobs((first, due), budget))
    taken = {(job.line, subject) for job in jobs for subject, _ in job.wanted}
    return Plan(
        jobs=jobs,
        carried=_carried(known, offers, today),
        waiting=Counter(
            reason
            for some in (first, due)
            for line, row in some.items()
            for _, cell, reason in row
            if (line, cell.subject_id) not in taken
        ),
        again_at=_again_at(known, today, now, out_of_time=budget.left_s <= 0),
    )


def why_due(cell: PlannedCell, offer: Offer, now: datetime) -> Reason | None:
    """Return why a cell is to be probed now, None where it is not."""
    latest = cell.latest
    if latest is None:
        return Reason.NEW
    if latest.open:
        return Reason.RESUMED
    return _changed(cell, latest, offer) or _unchanged(cell, latest, now)


def pause(unchanged: timedelta) -> timedelta:
    """Return how long a cell is left alone whose verdict has stood so long: a quarter of that, four weeks at most."""
    return timedelta(days=min(LONGEST_PAUSE_DAYS, max(1, unchanged.days // 4)))


def retry_after(latest: LastDay) -> datetime:
    """Return when to ask again after faults of ours: each further one of the day doubles the pause."""
    assert latest.last_run_at is not None  # noqa: S101 - it was spoiled by a run
    return latest.last_run_at + backoff(latest.spoiled)


def backoff(failures: int) -> timedelta:
    """Return the pause after so many failures: ten minutes, then twice as long each time, six hours at most."""
    doubled: timedelta = RETRY_AFTER * 2 ** min(max(failures, 1) - 1, 10)
    return min(RETRY_AT_MOST, doubled)


def _changed(cell: PlannedCell, latest: LastDay, offer: Offer) -> Reason | None:
    if latest.offer.version != offer.version:
        return Reason.RELEASE
    if latest.subject != cell.digest:
        return Reason.REVISION
    if latest.offer.pins != offer.pins:
        return Reason.PINS
    return Reason.SUITE if latest.offer.suite != offer.suite else None


def _unchanged(cell: PlannedCell, latest: LastDay, now: datetime) -> Reason | None:
    today = now.astimezone(UTC).date()
    if latest.spoiled:
        return Reason.INFRA if latest.day < today or now >= retry_after(latest) else None
    if latest.probed >= today:
        return None
    if _young(cell, today):
        return Reason.YOUNG
    return Reason.ROUTINE if today >= latest.probed + pause(today - latest.since) else None


def _urgency(cell: PlannedCell, reason: Reason, today: date) -> float:
    """Return its place: lower is sooner."""
    latest = cell.latest
    if latest is None:
        waited = today - cell.born
    elif reason in (Reason.YOUNG, Reason.ROUTINE):
        waited = today - latest.probed
    else:
        waited = today - latest.day  # what has changed cannot be carried: so long it has no day
    return _RANK[reason] - min(waited.days, LONGEST_PAUSE_DAYS * 2) - (_YOUNG_BEFORE_DAYS if _young(cell, today) else 0)


def _young(cell: PlannedCell, today: date) -> bool:
    return today - cell.born < YOUNG


def _jobs(dues: Iterable[_Due], budget: Budget) -> Iterator[Job]:
    left = min(budget.slice_s, budget.left_s)
    turns = (
        (due[line], line) for due in dues for line in sorted(due, key=lambda line: (budget.spent.get(line, 0), line))
    )
    for row, line in turns:
        if left <= 0:
            return
        seconds = max(budget.cell_s[line], _LEAST_S)
        chosen = sorted(row, key=lambda due_cell: (due_cell[0], due_cell[1].subject_id))[: max(1, int(left / seconds))]
        job = Job(line, tuple((cell.subject_id, reason) for _, cell, reason in chosen), seconds * len(chosen))
        left -= job.seconds
        yield job


def _carried(
    known: Iterable[PlannedCell], offers: Mapping[ReleaseLine, Offer], today: date
) -> Mapping[ReleaseLine, tuple[str, ...]]:
    carried: dict[ReleaseLine, list[str]] = {}
    for cell in known:
        latest = cell.latest
        if latest is None or latest.day >= today or latest.open or latest.verdict is CellVerdict.UNKNOWN:
            continue
        if _changed(cell, latest, offers[cell.line]) is None:
            carried.setdefault(cell.line, []).append(cell.subject_id)
    return {line: tuple(subjects) for line, subjects in carried.items()}


def _again_at(known: Iterable[PlannedCell], today: date, now: datetime, *, out_of_time: bool) -> datetime:
    midnight = datetime.combine(today + A_DAY, time(), UTC)
    if out_of_time:  # what was spent a day ago comes back little by little
        return min(midnight, now + BUDGET_LOOK)
    spoiled = (cell.latest for cell in known if cell.latest and cell.latest.spoiled and cell.latest.day == today)
    return min([midnight, *(moment for latest in spoiled if (moment := retry_after(latest)) > now)])
