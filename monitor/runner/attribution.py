"""Asks a failing model again in the release before of a runtime, and in that of what it stands on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor import verdicts
from monitor.domain import Origin, Outcome, Runtime
from monitor.errors import UsageError
from monitor.judge.attribution import Corner, Crossed, crossed, release_before
from monitor.runner.cycle import run_cycle
from monitor.runner.install import listed
from probes import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import CheckResult
    from monitor.progress import Progress
    from monitor.runner.context import RunContext
    from monitor.runner.cycle import CycleResult
    from monitor.runner.request import ProbeRequest


def foundation_of(runtime: Runtime) -> Runtime:
    """Return the runtime that this one stands on. Raises UsageError where it stands on none that is measured."""
    foundation = catalogue.adapter_class(runtime).stands_on
    if not foundation:
        able = ", ".join(other for other in Runtime if catalogue.adapter_class(other).stands_on)
        raise UsageError(f"{runtime} stands on no other runtime, so there is nothing to cross", hint=f"try {able}")
    return Runtime(foundation)


def cross(
    context: RunContext, request: ProbeRequest, held: CycleResult, progress: Progress
) -> dict[str, list[Crossed]]:
    """Return per cell whose fault its failing checks are; where nothing fails, nothing is asked."""
    foundation = foundation_of(request.runtime)
    here = {cell: checks for cell, checks in _checks(context, held.runs).items() if _fails(checks)}
    environment = context.store.environment(held.installation.key)
    if not here or environment is None:
        return {}
    pins = environment.packages
    own, its = pins[str(request.runtime)], pins[str(foundation)]
    older_own = release_before(own, listed(context, request.runtime).releases)
    older_its = release_before(its, listed(context, foundation).releases)
    places = {
        corner: (version, f"{foundation}=={beside}")
        for corner, version, beside in (
            (Corner.OLDER_RUNTIME, older_own, its),
            (Corner.OLDER_FOUNDATION, own, older_its),
        )
        if version and beside
    }
    wanted = [subject for subject in request.subjects if any(cell.startswith(f"{subject.id}@") for cell in here)]
    answered: dict[Corner, dict[str, Sequence[CheckResult]]] = {}
    for corner, (version, beside) in places.items():
        asked = replace(request, version=version, beside=(beside,), origin=Origin.ADHOC, subjects=wanted, force=True)
        there = run_cycle(context, asked, progress)
        answered[corner] = _checks(context, there.runs)
    names = {corner: f"{request.runtime} {version} with {beside}" for corner, (version, beside) in places.items()}
    return {
        cell: crossed(
            {Corner.HERE: checks, **{corner: told.get(cell, ()) for corner, told in answered.items()}},
            names,
            str(request.runtime),
            str(foundation),
        )
        for cell, checks in here.items()
    }


def _checks(context: RunContext, runs: Sequence[str]) -> dict[str, Sequence[CheckResult]]:
    """Return the checks of each cell's last run."""
    details = [verdicts.run_detail(context.store, run) for run in runs]
    return {str(detail.row["cell_id"]): detail.checks for detail in details}


def _fails(checks: Sequence[CheckResult]) -> bool:
    return any(one.outcome is Outcome.FAILED for one in checks)
