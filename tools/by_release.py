"""Measures the listed releases of every runtime with the packages of their release days; continues where it ended."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.domain import Blame, CellVerdict, InstalledAsOf, Origin, Runtime
from monitor.errors import InfraError, SettleError, UnknownName
from monitor.judge.confirm import passes_by
from monitor.runner.cycle import run_cycle
from monitor.runner.release_day import dated_by
from monitor.runner.request import ProbeRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import Subject
    from monitor.runner.parallel import Runner

LIST = Path(__file__).with_suffix(".toml")


def listed() -> dict[Runtime, list[str]]:
    """Return the releases to measure, in the order in which they are: those that share a torch follow each other."""
    return {Runtime(name): list(row["versions"]) for name, row in tomllib.loads(LIST.read_text("utf-8")).items()}


def chosen(names: Sequence[str]) -> list[tuple[Runtime, str]]:
    """Return the releases that ``names`` means: a runtime stands for all of its listed ones, none for all runtimes."""
    releases = listed()
    pairs = [name.partition("==")[::2] for name in names or releases]
    if unknown := [name for name, _ in pairs if name not in releases]:
        raise UnknownName("runtime with listed releases", unknown[0], list(releases))
    return [
        (Runtime(name), wanted)
        for name, version in pairs
        for wanted in ([version] if version else releases[Runtime(name)])
    ]


def measure(runner: Runner, subjects: Sequence[Subject], names: Sequence[str]) -> None:
    """Measure every release that has no result yet by today's probes.

    Raises InfraError, after all others, where some could not be measured.
    """
    releases, failed = chosen(names), []
    for runtime in dict.fromkeys(runtime for runtime, _ in releases):
        runner.tools_for(runtime).installer.learn_releases(runtime)
    for number, (runtime, version) in enumerate(releases, 1):
        runner.progress.message(f"{number} of {len(releases)}: {runtime} {version}")
        try:
            _measure_release(runner, runtime, version, subjects)
        except SettleError as error:  # the others may be measured, and the same command tries this one again
            runner.progress.message(f"{runtime} {version} was not measured: {error}")
            failed.append(f"{runtime}=={version}")
    if failed:
        raise InfraError(f"not measured: {', '.join(failed)}", hint="the same command tries them again")


def _measure_release(runner: Runner, runtime: Runtime, version: str, subjects: Sequence[Subject]) -> None:
    now = datetime.now(UTC)
    request = ProbeRequest(
        runtime=runtime, version=version, day=now.date(), cutoff=now, origin=Origin.ADHOC, subjects=subjects
    )
    request = dated_by(runner.store.releases(runtime), request)
    if request.installed is not InstalledAsOf.RELEASE_DAY:
        raise UnknownName(f"release of {runtime}", version, [], hint="the index does not list it with a day")
    measured = runner.store.report.measured_by_release(runtime, version, suite=runner.suite_of(runtime))
    if lasting(measured) >= {subject.id for subject in subjects}:
        runner.progress.message(f"{runtime} {version}: all {len(subjects)} subjects are measured")
        return
    result = run_cycle(runner, request)
    runner.progress.message(f"{runtime} {version}: {len(result.settled)} of {len(subjects)} settled")


def lasting(measured: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the subjects whose result would not change at another attempt."""
    return {
        row["subject"]
        for row in measured
        if row["verdict"] != CellVerdict.UNKNOWN
        or not passes_by(Blame(row["blame"]) if row["blame"] else None, row["fault"])
    }
