"""A replay that is killed anywhere and started again leaves the history of one that nobody disturbed, row for row."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.worlds.world import ACKNOWLEDGED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.worlds.world import World

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

# Gemma 4 comes with 5.5.0 on the second of April, so that there is a change to confirm and days to carry on both sides
REPLAY = ("replay", "Gemma 4", "--from", "2026-03-31", "--to", "2026-04-04", "--every", "change")
HISTORY = (
    "SELECT subject, day, version, verdict, rung, reason, blame, fault, carried, origin, note"
    " FROM history ORDER BY subject, day"
)
RUNGS = "SELECT cell_id, day, step, verdict, reason FROM day_rungs ORDER BY 1, 2, 3"
FLIPS = "SELECT cell_id, day, before, after, confirmed FROM flips ORDER BY 1, 2"
# Which repetition shares its session depends on who else needs one, and a kill may leave a cell by itself.
ATTEMPTS = "SELECT cell_id, day, purpose, max(solo), count(*) FROM runs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
PHASES = [re.compile(text) for text in (r"resolving", r"installed environment|is there already", r"\[1/", r"once more")]
LONGEST_S = 12.0


@pytest.fixture(scope="module")
def calm_replay(make_world: Callable[[str, str], World]) -> World:
    world = make_world("calm-replay", "docker")
    running = world.start(*REPLAY)
    assert running.ended() == 0, running.said
    return world


def lived(world: World) -> list[list[tuple[object, ...]]]:
    return [world.rows(sql) for sql in (HISTORY, RUNGS, FLIPS, ATTEMPTS)]


def test_what_a_replay_of_the_days_around_a_release_says(calm_replay: World) -> None:
    rows = calm_replay.rows("SELECT subject, verdict FROM history ORDER BY subject, day")
    stories = {
        subject: "".join("B" if verdict == "broken" else "W" for one, verdict in rows if one == subject)
        for subject, _ in rows
    }
    assert stories["google/gemma-4-31B-it"] == "BBWWW"
    assert stories["google/gemma-4-31B-it#text"] == "BBWWW"
    assert calm_replay.rows("SELECT DISTINCT day, before, after FROM flips") == [("2026-04-02", "broken", "works")]
    departed = {package for (package,) in calm_replay.rows("SELECT DISTINCT package FROM departures")}
    assert departed >= {"torch", "setuptools"}


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        pytest.param(3, 1, id="a-handful"),
        pytest.param(40, 2, id="many", marks=[pytest.mark.soak, pytest.mark.timeout(5400)]),
    ],
)
def test_kill_9_in_a_replay(make_world: Callable[[str, str], World], calm_replay: World, kills: int, seed: int) -> None:
    world = make_world("killed-replay", "docker")
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    killed = 0
    acknowledged: Counter[str] = Counter()
    while killed < kills:
        running = world.start(*REPLAY)
        phase, seconds = chance.choice(PHASES), chance.uniform(0, LONGEST_S)
        if running.wait_for(phase) and running.lives_after(seconds):
            running.kill()
            killed += 1
            print(f"kill {killed}: {seconds:.2f} s after {phase.pattern!r}")  # noqa: T201 - to repeat it by
        acknowledged.update(ACKNOWLEDGED.findall(running.said))
        assert "Traceback" not in running.said
        if running.process.returncode == 0:  # it came to its end before the moment: begin another
            assert lived(world) == lived(calm_replay)
            world.forget()
            acknowledged.clear()
    running = world.start(*REPLAY)
    assert running.ended() == 0, running.said
    acknowledged.update(ACKNOWLEDGED.findall(running.said))
    assert lived(world) == lived(calm_replay)
    recorded = Counter(str(cell).partition("@")[0] for (cell,) in world.rows("SELECT cell_id FROM runs"))
    assert not acknowledged - recorded, "printed and not recorded"
    assert world.damage() == []
    assert world.leftovers() == []
    again = world.start(*REPLAY)
    assert again.ended() == 0
    assert "No new runs" in again.said
