"""Whose fault a failing check is, by pairing a runtime and its foundation with older releases of each; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.version import Version

from monitor.domain import Channel, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import CheckResult, Release


class Pairing(StrEnum):
    """Which of runtime and foundation is of an older release; where the failure was seen, neither is."""

    HERE = "here"
    OLDER_RUNTIME = "older-runtime"
    OLDER_FOUNDATION = "older-foundation"


class Culprit(StrEnum):
    RUNTIME = "runtime"
    FOUNDATION = "foundation"
    PAIR = "pair"  # each works with the other's release before
    NEITHER = "neither"  # fails in every combination: the probe's own recipe, or a gap older than both neighbours
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attribution:
    check: str
    culprit: Culprit
    reason: str


def attributions(
    checks: Mapping[Pairing, Sequence[CheckResult]], names: Mapping[Pairing, str], runtime: str, foundation: str
) -> list[Attribution]:
    """Return an attribution for each check that fails here. ``names`` has the versions of each pairing."""
    failed = [check for check in checks[Pairing.HERE] if check.outcome is Outcome.FAILED]
    return [_attributed(check, checks, names, runtime, foundation) for check in failed]


def _attributed(
    failed: CheckResult,
    checks: Mapping[Pairing, Sequence[CheckResult]],
    names: Mapping[Pairing, str],
    runtime: str,
    foundation: str,
) -> Attribution:
    others = (Pairing.OLDER_RUNTIME, Pairing.OLDER_FOUNDATION)
    passes = {pairing: _passes(checks.get(pairing, ()), failed) for pairing in others}
    older = {pairing: names.get(pairing, "no release before") for pairing in others}
    unknown = " and ".join(older[pairing] for pairing in others if passes[pairing] is None)
    if unknown:
        return Attribution(failed.name, Culprit.UNKNOWN, f"{unknown}: the check has no result or fails otherwise there")
    older_runtime, older_foundation = others
    match passes[older_runtime], passes[older_foundation]:
        case True, True:
            return Attribution(failed.name, Culprit.PAIR, f"passes in {' as well as in '.join(older.values())}")
        case True, _:
            culprit, passing, failing, changed = Culprit.RUNTIME, older_runtime, older_foundation, runtime
        case _, True:
            culprit, passing, failing, changed = Culprit.FOUNDATION, older_foundation, older_runtime, foundation
        case _:
            reason = f"fails alike in {' and in '.join(older.values())}: the probe's recipe, or older than either"
            return Attribution(failed.name, Culprit.NEITHER, reason)
    reason = f"passes in {older[passing]}, and fails alike in {older[failing]}: {changed} changed it"
    return Attribution(failed.name, culprit, reason)


def _passes(checks: Sequence[CheckResult], failed: CheckResult) -> bool | None:
    """Return whether the check passes there; None when it has no result, or fails for another reason."""
    there = next((check for check in checks if check.name == failed.name), None)
    if there is None:
        return None
    if there.outcome is Outcome.PASSED:
        return True
    return False if there.outcome is Outcome.FAILED and there.fault == failed.fault else None


def release_before(version: str, releases: Iterable[Release]) -> str:
    """Return the stable release before a version, "" when there is none."""
    older = [
        Version(release.version)
        for release in releases
        if release.channel is Channel.STABLE and not release.yanked and Version(release.version) < Version(version)
    ]
    return str(max(older)) if older else ""
