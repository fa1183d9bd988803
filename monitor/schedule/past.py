"""Backfills past days: what a user would have got on each day, probed where it changed and carried where not."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from containers.failures import InstallFailure
from monitor import verdicts
from monitor.domain import Cell, Channel, Origin, Runtime
from monitor.errors import InfraError, SettleError
from monitor.judge.confirm import Settled
from monitor.judge.days import Fingerprint
from monitor.runner.cycle import run_cycle
from monitor.runner.install import InstallResult
from monitor.runner.request import ProbeRequest
from monitor.sources.index import fetch_releases
from monitor.store import Departure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from monitor.domain import Release, Subject
    from monitor.judge.confirm import RetryNeeded
    from monitor.runner.parallel import Runner
    from monitor.store import EnvironmentRecord

A_DAY = timedelta(days=1)


class Every(StrEnum):
    """Which days are resolved. Between them the environment is assumed unchanged."""

    RELEASE = "release"  # days with a release; other pins are assumed to stay until the next one
    CHANGE = "change"  # and, by bisection, the days on which a pin that the probe imports changed
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Order:
    """What to replay: from ``first`` to ``last``, both included."""

    runtime: Runtime
    first: date
    last: date
    every: Every
    subjects: Sequence[Subject]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DayResolution:
    """The resolution of a day; days with equal ``pins`` measure the same."""

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
    """Rebuild the history day by day, oldest first, so that each verdict is confirmed with what was known that day.

    Recorded days are not repeated: a replay that was killed anywhere continues where it was.
    """
    began = clock.monotonic()
    past = _Past(runner, order)
    heads = release_days(past.learn(), order.first, order.last)
    environments = runs = carried = 0
    probed: DayResolution | None = None
    for number, (day, until) in enumerate(spans(heads, order.last), start=1):
        while day <= until:  # from one day with other pins to the next
            resolution = past.on(day)
            if probed is None or resolution.pins != probed.pins:
                probed, new_runs = resolution, past.probe(resolution)
                environments += new_runs > 0
                runs += new_runs
            else:
                carried += past.carry([day], probed, resolution)
            following = next_change(day, until, order.every, lambda other: past.on(other).pins)
            between = list(days_between(day + A_DAY, following - A_DAY))
            carried += past.carry(between, probed, resolution) if between else 0
            day = following  # noqa: PLW2901 - the loop's own step within a span
        minutes = (clock.monotonic() - began) / 60
        left = minutes / number * (len(heads) - number)
        runner.progress.message(
            f"[{number}/{len(heads)}] up to {until}: {minutes:.0f} min so far, about {left:.0f} min left"
        )
    return Replayed(environments, runs, carried, clock.monotonic() - began)


def release_days(releases: Iterable[Release], first: date, last: date) -> list[date]:
    """Return the first day and every later day with a stable release that was not yanked since."""
    days = {
        release.published_at.astimezone(UTC).date()
        for release in releases
        if release.channel is Channel.STABLE and not release.yanked
    }
    return sorted({first} | {day for day in days if first < day <= last})


def spans(heads: Sequence[date], last: date) -> Iterator[tuple[date, date]]:
    """Return each head with the last day before the next head."""
    for head, following in zip(heads, [*heads[1:], last + A_DAY], strict=True):
        yield head, following - A_DAY


def next_change(day: date, until: date, every: Every, pins_on: Callable[[date], str]) -> date:
    """Return the next day after ``day`` that has to be looked at, or the day after ``until``.

    By ``CHANGE`` it is the first whose pins differ, found by bisection: an index only ever gains files, so pins that
    are equal on two days are taken to be equal between them.
    """
    if every is Every.RELEASE or day == until:
        return until + A_DAY
    if every is Every.DAY:
        return day + A_DAY
    pins = pins_on(day)
    if pins_on(until) == pins:
        return until + A_DAY
    same, other = day, until
    while other - same > A_DAY:
        middle = same + (other - same) // 2
        if pins_on(middle) == pins:
            same = middle
        else:
            other = middle
    return other


def days_between(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += A_DAY


class _Past:
    """The effects of a replay: resolving a day, probing it, carrying it."""

    def __init__(self, runner: Runner, order: Order) -> None:
        self.runner, self.order, self.store = runner, order, runner.store
        self.tools = runner.tools_for(order.runtime)
        self._suite = runner.suite_of(order.runtime)
        self._cells = {
            Cell(subject.id, order.runtime, Channel.STABLE, runner.platform): subject for subject in order.subjects
        }
        self._resolutions: dict[date, DayResolution] = {}
        self._published: dict[str, dict[str, date]] = {}

    def learn(self) -> Sequence[Release]:
        """Ask the index for every release. Raises InfraError when none is known, now or from an earlier time."""
        self.tools.installer.learn_releases(self.order.runtime)
        releases = self.store.releases(self.order.runtime)
        if not releases:
            raise InfraError(
                f"no release of {self.order.runtime} is known, so there is no past to rebuild",
                hint="`settle doctor` checks index, proxy and certificate authority",
            )
        return releases

    def on(self, day: date) -> DayResolution:
        """Return the day's resolution: the recorded one, or a new one."""
        if day not in self._resolutions:
            self._resolutions[day] = self._recorded(day) or self._resolve(day)
        return self._resolutions[day]

    def probe(self, resolution: DayResolution) -> int:
        """Probe what is due on the day and settle it; return how many runs that took."""
        installation: InstallResult | None = None
        if resolution.record is not None:
            if self._all_settled(resolution.day, resolution.record):
                return 0
            built = self.tools.installer.rebuild(resolution.record, resolution.resolution_id)
            installation = None if isinstance(built, InstallFailure) else built  # None: the cycle installs and fails
        return len(run_cycle(self.runner, self._request(resolution.day), installation=installation).runs)

    def carry(self, days: Sequence[date], probed: DayResolution, resolution: DayResolution) -> int:
        """Carry the probed verdicts over the days, by their ``resolution``; return how many days of cells are new."""
        if probed.record is None:
            return 0
        return verdicts.carry(
            self.store,
            self._cells,
            days,
            Origin.REPLAY,
            resolution_id=resolution.resolution_id,
            fingerprints={cell.id: self._fingerprint(cell, probed.record) for cell in self._cells},
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

    def _recorded(self, day: date) -> DayResolution | None:
        recorded = self.store.resolved(
            self.order.runtime, Channel.STABLE, self.runner.platform, day=day, origin=Origin.REPLAY
        )
        if recorded is None:
            return None
        resolution_id, record = recorded
        return DayResolution(day, resolution_id, record.pins, record)

    def _resolve(self, day: date) -> DayResolution:
        answer = self.tools.installer.resolve_only(self._request(day))
        if isinstance(answer, InstallResult):
            return DayResolution(day, answer.resolution_id, answer.key, None)
        resolution = self._recorded(day)
        assert resolution is not None  # noqa: S101 - recorded a moment ago
        self.store.record_departures(resolution.resolution_id, self._departures(answer, day))
        return resolution

    def _departures(self, record: EnvironmentRecord, day: date) -> Iterator[Departure]:
        """Return packages that are exempt from the cutoff and were published after the day."""
        for package in (*self.tools.recipe.exempt, *self.tools.installer.settings.exempt):
            version = record.packages.get(package, "")
            if not version:
                continue
            published = self._published_on(package).get(version.partition("+")[0])
            if published is None:
                yield Departure(package, version, "the index does not say when it was published")
            elif published > day:
                later = (published - day).days
                after = f"{later} day{'s' if later != 1 else ''} later"
                yield Departure(package, version, f"published on {published}, {after}")

    def _published_on(self, package: str) -> dict[str, date]:
        if package not in self._published:
            try:
                releases = fetch_releases(self.order.runtime, package, self.tools.installer.settings).releases
            except SettleError as error:
                self.runner.progress.message(f"the publication days of {package} are unknown: {error}")
                releases = ()
            self._published[package] = {
                release.version: release.published_at.astimezone(UTC).date() for release in releases
            }
        return self._published[package]

    def _all_settled(self, day: date, record: EnvironmentRecord) -> bool:
        def decision(cell: Cell) -> Settled | RetryNeeded:
            fingerprint, version = self._fingerprint(cell, record), record.version
            return verdicts.decision(self.store, cell, day, Origin.REPLAY, fingerprint=fingerprint, version=version)

        return all(isinstance(decision(cell), Settled) for cell in self._cells)

    def _fingerprint(self, cell: Cell, record: EnvironmentRecord) -> Fingerprint:
        return Fingerprint(record.digest, self._suite, self._cells[cell].digest)


def end_of(day: date) -> datetime:
    """Return the day's last second, UTC: a release of a day belongs to it."""
    return datetime.combine(day, time(23, 59, 59), UTC)
