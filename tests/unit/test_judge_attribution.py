"""Whose fault a failing check is, as a table of what older releases say of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from monitor.domain import Channel, CheckResult, Outcome, Release, Rung, Runtime
from monitor.judge.attribution import Attribution, Culprit, Pairing, attributions, release_before
from monitor.judge.checks import fault_result, passed

LORA = "trains.lora"
FAILS = fault_result(LORA, "adapter-error", "AttributeError: 'tuple' object has no attribute 'dtype'")
OTHERWISE = fault_result(LORA, "adapter-targets", "all-linear puts an adapter on no layer")
PASSES = passed(LORA)
OURS = fault_result(LORA, "infra-time", "too slow")
NEVER = CheckResult(LORA, Rung.TRAINS, Outcome.NOT_REACHED)
NAMES = {Pairing.OLDER_RUNTIME: "peft 1", Pairing.OLDER_FOUNDATION: "transformers 1"}


def cross(older_runtime: CheckResult | None, older_foundation: CheckResult | None) -> Attribution:
    corners = {
        Pairing.HERE: [passed("trains.gradients"), FAILS],
        Pairing.OLDER_RUNTIME: [older_runtime] if older_runtime else [],
        Pairing.OLDER_FOUNDATION: [older_foundation] if older_foundation else [],
    }
    (answer,) = attributions(corners, NAMES, "peft", "transformers")
    return answer


@pytest.mark.parametrize(
    ("older_runtime", "older_foundation", "culprit"),
    [
        (PASSES, FAILS, Culprit.RUNTIME),
        (FAILS, PASSES, Culprit.FOUNDATION),
        (PASSES, PASSES, Culprit.PAIR),
        (FAILS, FAILS, Culprit.NEITHER),
        (None, PASSES, Culprit.UNKNOWN),
        (NEVER, FAILS, Culprit.UNKNOWN),
        (OURS, FAILS, Culprit.UNKNOWN),
        (PASSES, OTHERWISE, Culprit.UNKNOWN),
    ],
)
def test_who_changed_it(
    older_runtime: CheckResult | None, older_foundation: CheckResult | None, culprit: Culprit
) -> None:
    answer = cross(older_runtime, older_foundation)
    assert (answer.check, answer.culprit) == (LORA, culprit)


def test_the_reason_names_what_was_crossed() -> None:
    assert cross(FAILS, PASSES).reason == "passes in transformers 1, and fails alike in peft 1: transformers changed it"
    assert cross(NEVER, FAILS).reason == "peft 1: the check has no result or fails otherwise there"


def test_what_passes_here_is_not_crossed() -> None:
    assert attributions({Pairing.HERE: [PASSES, OURS, NEVER]}, {}, "peft", "transformers") == []


def release(version: str, channel: Channel = Channel.STABLE, yanked: str = "") -> Release:
    return Release(Runtime.PEFT, version, channel, datetime(2026, 1, 1, tzinfo=UTC), yanked)


def test_the_release_before_is_the_newest_older_one_that_a_user_gets() -> None:
    releases = [
        release("0.9.0"),
        release("0.17.1"),
        release("0.18.0", yanked="yes"),
        release("0.18.1rc1", Channel.PRERELEASE),
        release("0.19.0"),
        release("0.20.0"),
    ]
    assert release_before("0.19.0", releases) == "0.17.1"
    assert release_before("0.9.0", releases) == ""
