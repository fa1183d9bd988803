"""Asks a failing model again in the release before of a runtime, and in that of what it stands on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import Origin, Outcome, Runtime
from monitor.errors import UsageError
from monitor.judge.attribution import Corner, Crossed, crossed, release_before
from monitor.runner.cycle import hold_cycle
from monitor.runner.install import listed
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import CheckResult
    from monitor.progress import Talk
    from monitor.runner.context import Workbench
    from monitor.runner.cycle import Held
    from monitor.runner.install import Question


def foundation_of(runtime: Runtime) -> Runtime:
    """Return the runtime that this one stands on. Raises UsageError where it stands on none that is measured."""
    foundation = wire.RUNTIMES[runtime].stands_on
    if not foundation:
        able = ", ".join(name for name, own in wire.RUNTIMES.items() if own.stands_on)
        raise UsageError(f"{runtime} stands on no other runtime, so there is nothing to cross", hint=f"try {able}")
    return Runtime(foundation)


def cross(shop: Workbench, question: Question, held: Held, talk: Talk) -> dict[str, list[Crossed]]:
    """Return per cell whose fault its failing checks are; where nothing fails, nothing is asked."""
    foundation = foundation_of(question.runtime)
    here = {cell: checks for cell, checks in _checks(shop, held.runs).items() if _fails(checks)}
    environment = shop.store.environment(held.place.key)
    if not here or environment is None:
        return {}
    pins = environment.packages
    own, its = pins[str(question.runtime)], pins[str(foundation)]
    older_own = release_before(own, listed(shop, question.runtime).releases)
    older_its = release_before(its, listed(shop, foundation).releases)
    places = {
        corner: (version, f"{foundation}=={beside}")
        for corner, version, beside in (
            (Corner.OLDER_RUNTIME, older_own, its),
            (Corner.OLDER_FOUNDATION, own, older_its),
        )
        if version and beside
    }
    wanted = [subject for subject in question.subjects if any(cell.startswith(f"{subject.id}@") for cell in here)]
    answered: dict[Corner, dict[str, Sequence[CheckResult]]] = {}
    for corner, (version, beside) in places.items():
        asked = replace(question, version=version, beside=(beside,), origin=Origin.ADHOC, subjects=wanted, anew=True)
        there = hold_cycle(shop, asked, talk)
        answered[corner] = _checks(shop, there.runs)
    names = {corner: f"{question.runtime} {version} with {beside}" for corner, (version, beside) in places.items()}
    return {
        cell: crossed(
            {Corner.HERE: checks, **{corner: told.get(cell, ()) for corner, told in answered.items()}},
            names,
            str(question.runtime),
            str(foundation),
        )
        for cell, checks in here.items()
    }


def _checks(shop: Workbench, runs: Sequence[str]) -> dict[str, Sequence[CheckResult]]:
    """Return the checks of each cell's last run."""
    details = [shop.store.run_detail(run) for run in runs]
    return {str(detail.row["cell_id"]): detail.checks for detail in details}


def _fails(checks: Sequence[CheckResult]) -> bool:
    return any(one.outcome is Outcome.FAILED for one in checks)
