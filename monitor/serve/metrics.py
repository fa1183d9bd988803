"""What /metrics answers: figures for Prometheus, counted at each request."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from monitor.errors import SettleError
from monitor.store import open_reader
from monitor.store.reader import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client import Metric

    from monitor.serve.health import HasState


def metrics_of(home: Path, pulse: HasState) -> Callable[[], bytes]:
    """Return a function that counts and writes all figures."""
    registry = CollectorRegistry()  # not the default one, to which libraries add theirs
    registry.register(_Daemon(pulse))
    registry.register(_Home(home))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)


class _Daemon(Collector):
    def __init__(self, pulse: HasState) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        state = self._pulse.state()
        last = state.heartbeat
        yield _gauge("settle_running", "1 while a daemon runs", state.running)
        if not state.running:
            return
        yield _gauge("settle_heartbeat_age_seconds", "Seconds since the last heartbeat", state.age_s)
        yield _gauge("settle_stale", "1 when the last heartbeat is too old", state.stale)
        ticks = CounterMetricFamily("settle_ticks", "Ticks since the start")
        ticks.add_metric([], last.tick if last else 0)
        yield ticks
        jobs = CounterMetricFamily("settle_jobs_done", "Jobs done since the start, by reason", labels=["reason"])
        for reason, count in (last.jobs_done if last else {}).items():
            jobs.add_metric([reason], count)
        yield jobs


class _Home(Collector):
    def __init__(self, home: Path) -> None:
        self._home = home

    def collect(self) -> Iterator[Metric]:
        yield from self._disk()
        try:
            # a new connection each time: a server changes its threads
            with open_reader(self._home) as store:
                counts = store.planning.counts()
        except SettleError:
            yield _gauge("settle_database_readable", "0 when the database cannot be read", 0)
            return
        yield _gauge("settle_database_readable", "0 when the database cannot be read", 1)
        cells = GaugeMetricFamily("settle_cells", "Cells by their latest verdict", labels=["runtime", "verdict"])
        for (runtime, verdict), count in counts.cells.items():
            cells.add_metric([runtime, verdict], count)
        yield cells
        yield _by("settle_infra_faults", "Cells that an infra fault left unknown", "fault", counts.infra_faults)
        yield _by("settle_environments", "Environments that were ever installed", "runtime", counts.environments)
        yield _by("settle_source_failing", "1 when a source does not answer", "source", counts.failing_sources)

    def _disk(self) -> Iterator[Metric]:
        try:
            disk = shutil.disk_usage(self._home)
            size = (self._home / DATABASE).stat().st_size
        except OSError:
            return
        yield _gauge("settle_disk_free_bytes", "Free bytes on the filesystem of the data directory", disk.free)
        yield _gauge("settle_disk_total_bytes", "Size of the filesystem of the data directory", disk.total)
        yield _gauge("settle_database_bytes", "Size of the database file", size)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _by(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, count in counts.items():
        family.add_metric([key], count)
    return family
