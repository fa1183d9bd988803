"""A cycle that nobody disturbs: what it says twice, what can be read beside it, what the other engine says."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.worlds.world import ACKNOWLEDGED, CYCLE, PHASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.worlds.world import World

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

QUICK_S = 20  # on a busy machine; idle it is three


def test_the_second_cycle_of_a_day_says_that_nothing_changed(calm: World) -> None:
    sessions, matrix = calm.rows("SELECT count(*) FROM sessions"), calm.matrix()
    began = time.monotonic()
    again = calm.cycle()
    assert time.monotonic() - began < QUICK_S
    assert "No change: all" in again.said
    assert calm.rows("SELECT count(*) FROM sessions") == sessions
    assert calm.matrix() == matrix
    assert calm.leftovers() == []


def test_only_what_breaks_is_broken(calm: World) -> None:
    verdicts = dict(calm.rows("SELECT subject, verdict || ' ' || fault FROM current"))
    assert verdicts.pop("Qwen/Qwen3-8B") == "broken crashed"
    assert set(verdicts.values()) == {"works "}


def test_a_history_can_be_read_while_it_is_written(make_world: Callable[[str, str], World], calm: World) -> None:
    world = make_world("disturbed", "docker")
    cycle = world.start(*CYCLE)
    assert cycle.wait_for(ACKNOWLEDGED), cycle.said
    refused = world.ask("run", "--once")
    assert refused.returncode == 4
    assert f"process {cycle.process.pid}" in refused.stderr
    assert "Traceback" not in refused.stderr
    beside = 0
    while cycle.process.poll() is None:
        status = world.ask("status", "--json")
        assert (status.returncode, status.stderr) == (0, "")
        query = world.ask("query", "--json", "SELECT count(*) AS runs FROM runs")
        assert query.returncode == 0, query.stderr
        assert json.loads(query.stdout)[0]["runs"] >= len(json.loads(status.stdout)) >= 1
        beside += 1
    assert beside > 1
    assert cycle.ended() == 0, cycle.said
    assert world.matrix() == calm.matrix()


def test_plain_processes_say_the_same_on_a_platform_of_their_own(
    make_world: Callable[[str, str], World], calm: World
) -> None:
    world = make_world("process", "process")
    killed = world.start(*CYCLE)
    assert killed.wait_for(PHASES["probing"]), killed.said
    assert killed.lives_after(1.0), killed.said
    killed.kill()
    assert world.leftovers() != []  # a probe outlives its daemon ...
    world.cycle()
    assert world.leftovers() == []  # ... until the next one comes
    without_addresses = [[re.sub(r"0x[0-9a-f]+", "", str(value)) for value in row] for row in world.matrix()]
    assert without_addresses == [[str(value) for value in row] for row in calm.matrix()]
    assert world.rows("SELECT DISTINCT platform FROM current") == [("cpu-py3.11-process",)]


@pytest.mark.parametrize(("day", "verdict"), [("2026-03-31", "broken"), ("2026-04-03", "works")])
def test_gemma_4_is_known_from_its_first_release_on(
    make_world: Callable[[str, str], World], day: str, verdict: str
) -> None:
    answer = make_world("past", "docker").ask("probe", "google/gemma-4-31B-it", "--as-of", day, "--json")
    assert answer.returncode == 0, answer.stderr
    (settled,) = json.loads(answer.stdout)["settled"].values()
    assert settled["verdict"] == verdict, settled
    if verdict == "broken":
        assert settled["blame"] == "runtime"
        assert "too old: first known in 5.5.0" in settled["reason"]
