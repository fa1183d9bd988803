"""From one run's facts to its checks: what the installer answered, what the session said, how it ended; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.judge.checks import HANG_FACTOR, judge_subject
from monitor.judge.installs import judge_installation, not_installed

if TYPE_CHECKING:
    from monitor.domain import CheckResult, Ending, Runtime
    from monitor.judge.installs import Stage
    from monitor.judge.observations import Session


def checks_without_environment(runtime: Runtime, failed: Stage, fault: str, message: str) -> tuple[CheckResult, ...]:
    """Return the checks of a run whose installation failed."""
    return judge_installation(failed, fault=fault, message=message) + not_installed(runtime)


def checks_of_session(
    session: Session, subject_id: str, ending: Ending, *, runtime: Runtime, solo: bool, limit_factor: int
) -> tuple[CheckResult, ...]:
    """Return the checks of a run that had its environment."""
    hang_counts = solo and limit_factor >= HANG_FACTOR
    own = judge_subject(session, subject_id, ending, runtime=runtime, hang_counts=hang_counts)
    return judge_installation(None) + own
