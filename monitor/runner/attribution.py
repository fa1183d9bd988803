"""Probes a failing model in the previous release of its runtime, and of the foundation of that runtime."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor import verdicts
from monitor.domain import Cell, InstalledAsOf, Origin, Outcome, Runtime
from monitor.errors import UsageError
from monitor.judge.attribution import Attribution, Pairing, attributions, release_before
from monitor.runner.cycle import run_cycle
from probes import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import CheckResult
    from monitor.runner.cycle import CycleResult
    from monitor.runner.parallel import Runner
    from monitor.runner.request import ProbeRequest
    from monitor.store import Reader


def foundation_of(runtime: Runtime) -> Runtime:
    """Return the runtime that this one stands on. Raises UsageError where it stands on none that is measured."""
    foundation = catalogue.adapter_class(runtime).stands_on
    if not foundation:
        able = ", ".join(other for other in Runtime if catalogue.adapter_class(other).stands_on)
        raise UsageError(
            f"--attribute does not apply to {runtime}: it builds on no other runtime", hint=f"use it with {able}"
        )
    return Runtime(foundation)


def cross(runner: Runner, request: ProbeRequest, result: CycleResult) -> dict[str, list[Attribution]]:
    """Return per cell whose fault its failing checks are; where nothing fails, nothing is probed."""
    foundation = foundation_of(request.runtime)
    here = {
        cell: checks
        for cell, checks in _checks(runner.store, result.runs).items()
        if any(check.outcome is Outcome.FAILED for check in checks)
    }
    environment = runner.store.environment(result.installation.key)
    if not here or environment is None:
        return {}
    listed_releases = runner.tools_for(request.runtime).installer.listed_releases
    version, foundation_version = environment.packages[str(request.runtime)], environment.packages[str(foundation)]
    older = release_before(version, listed_releases(request.runtime))
    older_foundation = release_before(foundation_version, listed_releases(foundation))
    pairs = {}
    if older:
        pairs[Pairing.OLDER_RUNTIME] = (older, f"{foundation}=={foundation_version}")
    if older_foundation:
        pairs[Pairing.OLDER_FOUNDATION] = (version, f"{foundation}=={older_foundation}")
    subjects = [subject for subject in request.subjects if subject.id in {Cell.parse(cell).subject_id for cell in here}]
    checks_by_pairing: dict[Pairing, dict[str, Sequence[CheckResult]]] = {}
    for pairing, (first, pin) in pairs.items():
        pinned = replace(request, version=first, extra_pins=(pin,), origin=Origin.ADHOC, subjects=subjects, force=True)
        pinned = replace(pinned, installed=InstalledAsOf.RUN_DAY)  # a pair has no release day
        checks_by_pairing[pairing] = _checks(runner.store, run_cycle(runner, pinned).runs)
    names = {pairing: f"{request.runtime} {first} with {pin}" for pairing, (first, pin) in pairs.items()}
    return {
        cell: attributions(
            {Pairing.HERE: checks, **{pairing: cells.get(cell, ()) for pairing, cells in checks_by_pairing.items()}},
            names,
            str(request.runtime),
            str(foundation),
        )
        for cell, checks in here.items()
    }


def _checks(store: Reader, runs: Sequence[str]) -> dict[str, Sequence[CheckResult]]:
    """Return the checks of each cell's last run."""
    details = [verdicts.run_detail(store, run) for run in runs]
    return {str(detail.row["cell_id"]): detail.checks for detail in details}
