"""What a control says of an environment, and what a failure counts beside it."""

from __future__ import annotations

from datetime import timedelta

from monitor import verdicts
from monitor.domain import (
    Origin,
    Purpose,
    Runtime,
)
from monitor.judge.confirm import RetryNeeded, RetryReason, Settled
from monitor.judge.control import Control
from monitor.judge.days import Fingerprint
from tests.standins.days import FIRST, PLATFORM, World


def test_an_unclassified_failure_needs_the_control_and_a_fresh_process(world: World) -> None:
    world.run("U", FIRST)
    assert isinstance(world.decide(FIRST), Settled)
    assert world.story() == "?"
    world.run("W", FIRST, world.control)
    assert world.decide(FIRST).why is RetryReason.UNCLASSIFIED  # type: ignore[union-attr]
    world.run("U", FIRST, solo=True)
    assert world.story() == "B"
    assert world.store.current(cell=world.cell.id)[0]["blame"] == "unattributed"


def test_a_failing_control_makes_the_day_unknown_until_the_last_good_environment_answers(world: World) -> None:
    second = FIRST + timedelta(days=1)
    world.vouched = False
    world.run("W", FIRST, world.control)
    new = Fingerprint("env-b", "suite-1", "files")
    for solo in (False, True):
        world.run("B", second, solo=solo, fingerprint=new)
    assert world.story() == ".?"  # no control has answered
    for solo in (False, True):
        world.run("B", second, world.control, solo=solo, fingerprint=new)
    assert world.story() == ".?"
    good = world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=second, other_than="env-b")
    assert good is not None
    assert good.digest == "env-a"
    assert (
        verdicts.control_in(world.store, world.cell, second, Origin.LIVE, environment="env-b", suite="suite-1")
        is Control.PENDING
    )
    world.run("W", second, world.control, purpose=Purpose.CONTROL)
    assert world.story() == ".B"  # the release, or what it stands on: for everyone
    world.run("B", second, world.control, purpose=Purpose.CONTROL)
    assert world.story() == ".B"  # one success in the good environment proves the bench able


def test_a_control_in_another_environment_speaks_under_the_version_that_was_told_there(world: World) -> None:
    """With another package pinned by hand, what it says is no answer for the release itself."""
    pair = "0.18.0 with transformers==5.2.0"
    world.run("W", FIRST, world.control, origin=Origin.ADHOC, version=pair)
    good = world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=FIRST, other_than="env-b")
    assert good is not None
    assert good.version == pair


def test_a_release_of_the_afternoon_is_asked_about_in_the_environment_of_the_morning(world: World) -> None:
    world.run("W", FIRST, world.control)
    for solo in (False, True):
        world.run("B", FIRST, world.control, solo=solo, fingerprint=Fingerprint("env-b", "suite-1", "files"))
    good = world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=FIRST, other_than="env-b")
    assert good is not None
    assert good.digest == "env-a"
    assert world.store.last_good_environment(Runtime.TRANSFORMERS, PLATFORM, until=FIRST, other_than="env-a") is None


def test_a_control_that_fails_only_in_a_fork_is_green(world: World) -> None:
    world.run("B", FIRST, world.control)
    again = world.decide(FIRST, world.control)
    assert isinstance(again, RetryNeeded)
    assert (again.why, again.solo) == (RetryReason.FORK, True)
    world.run("W", FIRST, world.control, solo=True)
    for solo in (False, True):
        world.run("U", FIRST, solo=solo)
    assert (
        verdicts.control_in(world.store, world.cell, FIRST, Origin.LIVE, environment="env-a", suite="suite-1")
        is Control.GREEN
    )
    assert world.story() == "B"


def test_a_failure_counts_only_beside_a_control_that_answered_the_same_suite(world: World) -> None:
    world.vouched = False
    world.run("?", FIRST, world.control)
    world.run("W", FIRST, world.control, fingerprint=Fingerprint("env-a", "suite-0", "files"))
    for solo in (False, True):
        world.run("B", FIRST, solo=solo)
    assert world.story() == "?"
    assert "no control has a result" in world.store.current(cell=world.cell.id)[0]["reason"]
    world.run("W", FIRST, world.control)
    assert world.story() == "B"


def test_a_control_that_fails_everywhere_makes_the_day_unknown(world: World) -> None:
    world.vouched = False
    new = Fingerprint("env-b", "suite-1", "files")
    for solo in (False, True):
        world.run("B", FIRST, solo=solo, fingerprint=new)
    world.run("B", FIRST, world.control, fingerprint=new)
    world.run("B", FIRST, world.control, purpose=Purpose.CONTROL)
    assert world.story() == "?"
    assert "the control fails here and in the last good environment too" in world.store.current()[0]["reason"]
