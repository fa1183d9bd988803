"""Rebuilds a runtime's past: what a user would have got on each day, probed where it changed and carried where not."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from containers.failures import InstallFailure
from containers.recipes import RECIPES
from monitor import verdicts
from monitor.domain import Cell, Channel, Origin, Runtime
from monitor.errors import InfraError, SettleError
from monitor.judge.confirm import Settled
from monitor.judge.days import Fingerprint
from monitor.judge.lock_diff import imported_pins
from monitor.runner.cycle import run_cycle
from monitor.runner.install import InstallResult
from monitor.runner.request import ProbeRequest
from monitor.sources.index import fetch_releases
from monitor.store import Departure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from monitor.domain import Release, Subject
    from monitor.runner.parallel import Runner
    from monitor.store import EnvironmentRecord

ONE_DAY = timedelta(days=1)


class Every(StrEnum):
    """Which days are resolved. Between them, what was found is taken to have lasted."""

    RELEASE = "release"  # days on which a release came out; other pins are taken to stay until the next one
    CHANGE = "change"  # and, by bisection, the days on which a pin that the probe imports changed
    DAY = "day"  # every single one


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be replayed: from ``first`` to ``last``, both included."""

    runtime: Runtime
    first: date
    last: date
    every: Every
    subjects: Sequence[Subject]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What a day's resolution gave; ``pins`` tells whether it is another thing under test than before."""

    day: date
    resolution_id: str
    pins: str
    record: EnvironmentRecord | None  # None: nothing could be resolved


@dataclass(frozen=True, slots=True)
class Replayed:
    environments: int
    runs: int
    carried_days: int
    seconds: float


def replay(runner: Runner, order: Order) -> Replayed:
    """Rebuild the history day by day, oldest first, so that every verdict is weighed as it would have been then.

    What is recorded is never done again: a replay that was killed anywhere goes on where it was.
    """
    began = clock.monotonic()
    past = _Past(runner, order)
    heads = list(release_days(past.learn(), order.first, order.last))
    environments = runs = carried = 0
    standing: Known | None = None
    for installation, (head, until) in enumerate(spans(heads, order.last)):
        day = head
        while day <= until:
            known = past.on(day)
            if standing is None or known.pins != standing.pins:
                held = past.hold(known)
                environments += held > 0
                runs += held
                standing = known
            else:
                carried += past.carry([day], standing, known)
            following = next_change(day, until, order.every, lambda one: past.on(one).pins)
            between = list(days_between(day + ONE_DAY, following - ONE_DAY))
            carried += past.carry(between, standing, known) if between else 0
            day = following
        runner.progress.message(_progress(installation + 1, len(heads), until, clock.monotonic() - began))
    return Replayed(environments, runs, carried, clock.monotonic() - began)


def release_days(releases: Iterable[Release], first: date, last: date) -> list[date]:
    """Return the first day and every later one on which a stable release came out that nobody has yanked since."""
    days = {
        release.published_at.astimezone(UTC).date()
        for release in releases
        if release.channel is Channel.STABLE and not release.yanked
    }
    return sorted({first} | {day for day in days if first < day <= last})


def spans(heads: Sequence[date], last: date) -> Iterator[tuple[date, date]]:
    """Return each head with the last day before the next one."""
    for head, following in zip(heads, [*heads[1:], last + ONE_DAY], strict=True):
        yield head, following - ONE_DAY


def next_change(day: date, until: date, every: Every, pins_on: Callable[[date], str]) -> date:
    """Return the next day after ``day`` that has to be looked at, or the day after ``until``.

    By ``CHANGE`` it is the first whose pins differ, found by bisection: an index only ever gains files, so pins that
    are equal on two days are taken to be equal between them.
    """
    if every is Every.RELEASE or day == until:
        return until + ONE_DAY
    if every is Every.DAY:
        return day + ONE_DAY
    own = pins_on(day)
    if pins_on(until) == own:
        return until + ONE_DAY
    same, other = day, until
    while other - same > ONE_DAY:
        middle = same + (other - same) // 2
        if pins_on(middle) == own:
            same = middle
        else:
            other = middle
    return other


def days_between(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += ONE_DAY


class _Past:
    """The effects of a replay: resolving a day, probing it, carrying it."""

    def __init__(self, runner: Runner, order: Order) -> None:
        self.runner, self.order = runner, order
        self.installer = runner.tools_for(order.runtime).installer
        self._suite = runner.suite_of(order.runtime)
        self._known: dict[date, Known] = {}
        self._digests = {subject.id: subject.digest for subject in order.subjects}
        self._published: dict[str, dict[str, date]] = {}

    def learn(self) -> Sequence[Release]:
        """Ask the index for every release. Raises BenchError when none is known, now or from an earlier time."""
        self.installer.learn_releases(self.order.runtime)
        releases = self.runner.store.releases(self.order.runtime)
        if not releases:
            raise InfraError(
                f"no release of {self.order.runtime} is known, so there is no past to rebuild",
                hint="`settle doctor` checks index, proxy and certificate authority",
            )
        return releases

    def on(self, day: date) -> Known:
        """Return what the day's resolution gave: as it was recorded, or now."""
        if day not in self._known:
            self._known[day] = self._recorded(day) or self._resolved(day)
        return self._known[day]

    def hold(self, known: Known) -> int:
        """Probe what is due on the day and settle it; return how many runs that took."""
        request = self._request(known.day)
        installation: InstallResult | None = None
        if known.record is not None:
            if self._all_settled(known):
                return 0
            built = self.installer.rebuild(known.record, known.resolution_id)
            installation = None if isinstance(built, InstallFailure) else built  # None: installed, and failed, as ever
        return len(run_cycle(self.runner, request, installation=installation).runs)

    def carry(self, days: Sequence[date], standing: Known, known: Known) -> int:
        """Let what stands last over the days; ``known`` is the resolution that says so."""
        if standing.record is None:
            return 0
        return verdicts.carry(
            self.runner.store,
            self._cells(),
            days,
            Origin.REPLAY,
            resolution_id=known.resolution_id,
            fingerprints={cell.id: self._fingerprint(cell, standing.record.digest) for cell in self._cells()},
        ).new_days

    def _request(self, day: date) -> ProbeRequest:
        return ProbeRequest(
            runtime=self.order.runtime,
            day=day,
            cutoff=end_of(day),
            origin=Origin.REPLAY,
            subjects=self.order.subjects,
            seed=self.order.seed,
        )

    def _recorded(self, day: date) -> Known | None:
        order = self.order
        found = self.runner.store.resolved(
            order.runtime, Channel.STABLE, self.runner.platform, day=day, origin=Origin.REPLAY
        )
        return self._as_known(day, *found) if found else None

    def _resolved(self, day: date) -> Known:
        answer = self.installer.resolve_only(self._request(day))
        if isinstance(answer, InstallResult):
            return Known(day, answer.resolution_id, answer.key, None)
        found = self._recorded(day)
        assert found is not None  # noqa: S101 - recorded a moment ago
        self.runner.store.record_departures(found.resolution_id, self._departures(answer, day))
        return found

    def _as_known(self, day: date, resolution_id: str, record: EnvironmentRecord) -> Known:
        pins = imported_pins(record.packages, RECIPES[self.order.runtime].imported)
        return Known(day, resolution_id, pins, record)

    def _departures(self, record: EnvironmentRecord, day: date) -> Iterator[Departure]:
        """Return what the cutoff did not reach: packages that are exempt from it and were published later."""
        for package in (*RECIPES[self.order.runtime].exempt, *self.installer.settings.exempt):
            version = record.packages.get(package, "")
            if not version:
                continue
            published = self._published_on(package).get(version.partition("+")[0])
            if published is None:
                yield Departure(package, version, "the index does not tell when it was published")
            elif published > day:
                yield Departure(package, version, f"published on {published}, {(published - day).days} days later")

    def _published_on(self, package: str) -> dict[str, date]:
        if package not in self._published:
            try:
                releases = fetch_releases(self.order.runtime, package, self.installer.settings).releases
            except SettleError as error:
                self.runner.progress.message(f"when {package} was published is not told: {error}")
                releases = ()
            self._published[package] = {one.version: one.published_at.astimezone(UTC).date() for one in releases}
        return self._published[package]

    def _all_settled(self, known: Known) -> bool:
        record, store = known.record, self.runner.store
        return record is not None and all(
            isinstance(
                verdicts.decision(
                    store,
                    cell,
                    known.day,
                    Origin.REPLAY,
                    fingerprint=self._fingerprint(cell, record.digest),
                    version=record.version,
                ),
                Settled,
            )
            for cell in self._cells()
        )

    def _cells(self) -> list[Cell]:
        order, platform = self.order, self.runner.platform
        return [Cell(subject.id, order.runtime, Channel.STABLE, platform) for subject in order.subjects]

    def _fingerprint(self, cell: Cell, environment: str) -> Fingerprint:
        return Fingerprint(environment, self._suite, self._digests[cell.subject_id])


def end_of(day: date) -> datetime:
    """Return the day's last second, UTC: what came out on a day belongs to it."""
    return datetime.combine(day, time(23, 59, 59), UTC)


def _progress(done: int, of: int, until: date, seconds: float) -> str:
    left = seconds / done * (of - done)
    return f"[{done}/{of}] up to {until}: {seconds / 60:.0f} min so far, about {left / 60:.0f} min left"
