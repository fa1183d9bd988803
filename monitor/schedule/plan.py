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

ONE_DAY = timedelta(days=1)
YOUNG = timedelta(days=30)  # since its release a model is probed daily: as long as it takes to be established
LONGEST_PAUSE_DAYS = 28  # between two probes of what has not changed
AGAIN_AFTER = timedelta(minutes=10)  # a fault of ours; each further one doubles it
AGAIN_AT_MOST = timedelta(hours=6)
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
    BENCH = "the bench failed before"
    SUITE = "the probes have changed"
    YOUNG = "a young model is probed daily"
    ROUTINE = "its turn has come again, though nothing has changed"


_Due: TypeAlias = "dict[Line, list[tuple[float, Standing, Reason]]]"
_RANK = {reason: installation for installation, reason in enumerate(Reason)}


class Line(NamedTuple):
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
class Latest:
    """The latest day of a cell; a carried one counts for what it is carried from."""

    day: date
    verdict: CellVerdict
    since: date  # first day of the verdict that has not changed since
    probed: date
    offer: Offer  # what it was measured in
    environment: str  # the lock that gave it
    subject: str  # digest of the files that were measured
    open: bool = False  # begun, and not confirmed yet
    spoiled: int = 0  # runs of the day, where the bench may do better another time
    last_run_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A cell as it stands, whether it was probed or not."""

    subject_id: str
    line: Line
    born: date  # when the model was released, or else first seen
    digest: str  # of the subject's files now
    latest: Latest | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How many seconds probing may take: in a slice before all is weighed again, and in what is left of today.

    ``spent`` is what each line has had within a day, ``cell_s`` what a cell of it takes.
    """

    slice_s: float
    left_s: float
    spent: Mapping[Line, float]
    cell_s: Mapping[Line, float]


@dataclass(frozen=True, slots=True)
class Job:
    """Cells of one line that are probed together, the most urgent first, each with its reason."""

    line: Line
    wanted: tuple[tuple[str, Reason], ...]  # subject, why
    seconds: float  # estimated


@dataclass(frozen=True, slots=True)
class Plan:
    jobs: tuple[Job, ...]
    carried: Mapping[Line, tuple[str, ...]]  # subjects for which nothing has changed today
    waiting: Mapping[Reason, int]  # due, and not within this slice
    again_at: datetime  # nothing becomes due before, unless a fact does


def plan(standings: Sequence[Standing], offers: Mapping[Line, Offer], budget: Budget, now: datetime) -> Plan:
    """Decide what to do in the next slice of time.

    A line without an offer is left alone: nobody knows what a user would get. A young model's first probe comes before
    all else. Then lines take turns by what they have had, the least first, so that none starves; within one, a cell is
    the more urgent the longer it waits.
    """
    today = now.astimezone(UTC).date()
    known = [one for one in standings if one.line in offers]
    first: _Due = {}
    due: _Due = {}
    for one in known:
        reason = why_due(one, offers[one.line], now)
        if reason is not None:
            newborn = reason is Reason.NEW and _young(one, today)
            row = (first if newborn else due).setdefault(one.line, [])
            row.append((_urgency(one, reason, today), one, reason))
    jobs = tuple(_jobs((first, due), budget))
    taken = {(job.line, subject) for job in jobs for subject, _ in job.wanted}
    return Plan(
        jobs=jobs,
        carried=_carried(known, offers, today),
        waiting=Counter(
            reason
            for some in (first, due)
            for line, row in some.items()
            for _, one, reason in row
            if (line, one.subject_id) not in taken
        ),
        again_at=_again_at(known, today, now, out_of_time=budget.left_s <= 0),
    )


def why_due(one: Standing, offer: Offer, now: datetime) -> Reason | None:
    """Return why a cell is to be probed now, None where it is not."""
    latest = one.latest
    if latest is None:
        return Reason.NEW
    if latest.open:
        return Reason.RESUMED
    return _changed(one, latest, offer) or _unchanged(one, latest, now)


def pause(unchanged: timedelta) -> timedelta:
    """Return how long a cell is left alone whose verdict has stood so long: a quarter of that, four weeks at most."""
    return timedelta(days=min(LONGEST_PAUSE_DAYS, max(1, unchanged.days // 4)))


def again_after(latest: Latest) -> datetime:
    """Return when to ask again after faults of ours: each further one of the day doubles the pause."""
    assert latest.last_run_at is not None  # noqa: S101 - it was spoiled by a run
    return latest.last_run_at + backoff(latest.spoiled)


def backoff(failures: int) -> timedelta:
    """Return the pause after so many failures: ten minutes, then twice as long each time, six hours at most."""
    doubled: timedelta = AGAIN_AFTER * 2 ** min(max(failures, 1) - 1, 10)
    return min(AGAIN_AT_MOST, doubled)


def _changed(one: Standing, latest: Latest, offer: Offer) -> Reason | None:
    if latest.offer.version != offer.version:
        return Reason.RELEASE
    if latest.subject != one.digest:
        return Reason.REVISION
    if latest.offer.pins != offer.pins:
        return Reason.PINS
    return Reason.SUITE if latest.offer.suite != offer.suite else None


def _unchanged(one: Standing, latest: Latest, now: datetime) -> Reason | None:
    today = now.astimezone(UTC).date()
    if latest.spoiled:
        return Reason.BENCH if latest.day < today or now >= again_after(latest) else None
    if latest.probed >= today:
        return None
    if _young(one, today):
        return Reason.YOUNG
    return Reason.ROUTINE if today >= latest.probed + pause(today - latest.since) else None


def _urgency(one: Standing, reason: Reason, today: date) -> float:
    """Return its place: lower is sooner."""
    latest = one.latest
    if latest is None:
        waited = today - one.born
    elif reason in (Reason.YOUNG, Reason.ROUTINE):
        waited = today - latest.probed
    else:
        waited = today - latest.day  # what has changed cannot be carried: so long it has no day
    return _RANK[reason] - min(waited.days, LONGEST_PAUSE_DAYS * 2) - (_YOUNG_BEFORE_DAYS if _young(one, today) else 0)


def _young(one: Standing, today: date) -> bool:
    return today - one.born < YOUNG


def _jobs(dues: Iterable[_Due], budget: Budget) -> Iterator[Job]:
    left = min(budget.slice_s, budget.left_s)
    turns = ((due[line], line) for due in dues for line in sorted(due, key=lambda one: (budget.spent.get(one, 0), one)))
    for row, line in turns:
        if left <= 0:
            return
        cell = max(budget.cell_s[line], _LEAST_S)
        chosen = sorted(row, key=lambda one: (one[0], one[1].subject_id))[: max(1, int(left / cell))]
        job = Job(line, tuple((one.subject_id, reason) for _, one, reason in chosen), cell * len(chosen))
        left -= job.seconds
        yield job


def _carried(known: Iterable[Standing], offers: Mapping[Line, Offer], today: date) -> Mapping[Line, tuple[str, ...]]:
    carried: dict[Line, list[str]] = {}
    for one in known:
        latest = one.latest
        if latest is None or latest.day >= today or latest.open or latest.verdict is CellVerdict.UNKNOWN:
            continue
        if _changed(one, latest, offers[one.line]) is None:
            carried.setdefault(one.line, []).append(one.subject_id)
    return {line: tuple(subjects) for line, subjects in carried.items()}


def _again_at(known: Iterable[Standing], today: date, now: datetime, *, out_of_time: bool) -> datetime:
    midnight = datetime.combine(today + ONE_DAY, time(), UTC)
    if out_of_time:  # what was spent a day ago comes back little by little
        return min(midnight, now + BUDGET_LOOK)
    spoiled = (one.latest for one in known if one.latest and one.latest.spoiled and one.latest.day == today)
    return min([midnight, *(moment for latest in spoiled if (moment := again_after(latest)) > now)])
