"""Whose fault a failing check is, told by crossing a runtime and what it stands on with older ones; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.version import Version

from monitor.domain import Channel, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import CheckResult, Release


class Corner(StrEnum):
    """Which of the two is of the release before; where a failure was seen, neither is."""

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
class Crossed:
    check: str
    culprit: Culprit
    reason: str


def crossed(
    corners: Mapping[Corner, Sequence[CheckResult]], names: Mapping[Corner, str], runtime: str, foundation: str
) -> list[Crossed]:
    """Return one answer for each check that fails here. ``names`` says which versions a corner is made of."""
    here = [one for one in corners[Corner.HERE] if one.outcome is Outcome.FAILED]
    return [_crossed(one, corners, names, runtime, foundation) for one in here]


def _crossed(
    here: CheckResult,
    corners: Mapping[Corner, Sequence[CheckResult]],
    names: Mapping[Corner, str],
    runtime: str,
    foundation: str,
) -> Crossed:
    others = (Corner.OLDER_RUNTIME, Corner.OLDER_FOUNDATION)
    older_runtime, older_foundation = (_stands(corners.get(corner, ()), here) for corner in others)
    with_older = {corner: names.get(corner, "no release before") for corner in others}
    if older_runtime is None or older_foundation is None:
        untold = " and ".join(
            with_older[corner]
            for corner, told in zip(others, (older_runtime, older_foundation), strict=True)
            if told is None
        )
        return Crossed(here.name, Culprit.UNKNOWN, f"{untold}: the check was not answered or fails otherwise there")
    if older_runtime and older_foundation:
        return Crossed(here.name, Culprit.PAIR, f"passes in {' as well as in '.join(with_older.values())}")
    if older_runtime:
        reason = f"passes in {with_older[others[0]]}, and fails alike in {with_older[others[1]]}: {runtime} changed it"
        return Crossed(here.name, Culprit.RUNTIME, reason)
    if older_foundation:
        reason = (
            f"passes in {with_older[others[1]]}, and fails alike in {with_older[others[0]]}: {foundation} changed it"
        )
        return Crossed(here.name, Culprit.FOUNDATION, reason)
    reason = f"fails alike in {' and in '.join(with_older.values())}: the probe's recipe, or older than either"
    return Crossed(here.name, Culprit.NEITHER, reason)


def _stands(checks: Sequence[CheckResult], here: CheckResult) -> bool | None:
    """Tell whether the check passes there; None when it says nothing, or fails for another reason."""
    there = next((one for one in checks if one.name == here.name), None)
    if there is None:
        return None
    if there.outcome is Outcome.PASSED:
        return True
    return False if there.outcome is Outcome.FAILED and there.fault == here.fault else None


def release_before(version: str, releases: Iterable[Release]) -> str:
    """Return the stable release before a version, "" when there is none."""
    older = [
        Version(one.version)
        for one in releases
        if one.channel is Channel.STABLE and not one.yanked and Version(one.version) < Version(version)
    ]
    return str(max(older)) if older else ""
