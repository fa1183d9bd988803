"""What an installer's outcome says about rung 0, for every cell that shares the environment; pure."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.domain import CheckResult, Outcome, Rung
from monitor.judge.checks import SESSION_CHECKS, checks_of, fault_result, passed
from monitor.judge.faults import BLAME
from probes import wire

if TYPE_CHECKING:
    from datetime import date

    from monitor.domain import Runtime


class Stage(StrEnum):
    """Where an installation stopped; each stage is a check of rung 0."""

    RESOLVES = "resolves"
    BUILDS = "builds"
    CONSISTENT = "consistent"

    @property
    def check(self) -> str:
        return f"installs.{self.value}"


def judge_installation(failed: Stage | None, *, fault: str = "", message: str = "") -> tuple[CheckResult, ...]:
    """Return the installer's three checks. ``failed`` is None when the environment stands."""
    results = []
    stopped = ""
    for stage in Stage:
        if stopped:
            results.append(
                CheckResult(stage.check, Rung.INSTALLS, Outcome.NOT_REACHED, message=f"not reached: {stopped} failed")
            )
        elif stage is failed:
            results.append(fault_result(stage.check, fault if fault in BLAME else "infra-recipe", message))
            stopped = stage.check
        else:
            results.append(passed(stage.check))
    return tuple(results)


def not_installed(runtime: Runtime) -> tuple[CheckResult, ...]:
    """Return the import and every check of the runtime as not reached: there is no environment to run them in."""
    return tuple(
        CheckResult(name, Rung(wire.rung_of(name)), Outcome.NOT_REACHED, message="not reached: it does not install")
        for name in (*SESSION_CHECKS, *checks_of(runtime))
    )


def failed_key(runtime: Runtime, requested: str, day: date, fault: str) -> str:
    """Name an environment that could not be made: equal questions that fail alike, so that a second one confirms."""
    alike = f"{runtime}\n{requested}\n{day}\n{fault}"
    return "none-" + hashlib.sha256(alike.encode()).hexdigest()[:16]
