"""`kill -9` anywhere, and the next start: nothing is left lying about, nothing finished is lost, nothing is doubled."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.worlds.world import ACKNOWLEDGED, CYCLE, PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.worlds.world import Running, World

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

HANDFUL, MANY = 5, 50
PROMPTLY_S = 10  # on a busy machine; idle it is one
LONGEST_S = {"resolving": 3.0, "building": 6.0, "probing": 10.0, "confirming": 8.0}


@dataclass(frozen=True)
class Moment:
    """When to kill: so long after a phase began."""

    phase: str
    seconds: float
    new_history: bool

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s into {self.phase}{' of a new history' if self.new_history else ''}"


def moments(seed: int) -> Iterator[Moment]:
    """Go round the phases for ever, at random moments in each."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    first = True
    while True:
        for phase in chance.sample(sorted(PHASES), len(PHASES)):
            yield Moment(phase, chance.uniform(0, LONGEST_S[phase]), first or chance.random() < 0.5)
            first = False


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        pytest.param(HANDFUL, 1, id="a-handful"),
        pytest.param(MANY, 2, id="many", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_kill_9_at_random_moments(make_world: Callable[[str, str], World], calm: World, kills: int, seed: int) -> None:
    world = make_world("killed", "docker")
    history = History(world, calm)
    for moment in moments(seed):
        if moment.new_history:
            history.begin()
        if moment.phase == "building":
            world.lose_environments()
        running = world.start(*CYCLE)
        if running.wait_for(PHASES[moment.phase]) and running.lives_after(moment.seconds):
            running.kill()
            history.kills += 1
            print(f"kill {history.kills}: {moment}, {len(history.finished())} runs recorded")  # noqa: T201 - to repeat it by
        history.look(running)
        if history.kills >= kills:
            break
    history.end()


class History:
    """What one home must not lose from one start to the next."""

    def __init__(self, world: World, calm: World) -> None:
        self.world, self.calm = world, calm
        self.kills = 0
        self._seen: dict[str, Counter[tuple[object, ...]]] = {}
        self._acknowledged: Counter[str] = Counter()

    def begin(self) -> None:
        """Finish the history that there is, and begin another."""
        if self._seen:
            self.end()
        self.world.forget()
        self._seen, self._acknowledged = {}, Counter()

    def finished(self) -> Counter[tuple[object, ...]]:
        return self.world.facts().get("runs", Counter())

    def look(self, running: Running) -> None:
        """Look at what a start has left: all that was there before is there still, and so is all that it printed."""
        assert "Traceback" not in running.said
        now = self.world.facts()
        for table, before in self._seen.items():
            assert not before - now[table], f"lost from {table}"
        self._seen = now
        self._acknowledged.update(ACKNOWLEDGED.findall(running.said))
        recorded = Counter(
            str(cell).partition("@")[0] for (cell,) in (self.world.rows("SELECT cell_id FROM runs") if now else [])
        )
        assert not self._acknowledged - recorded, "printed and not recorded"
        assert self.world.damage() == [] if now else True

    def end(self) -> None:
        """Let one start go on to its end, and compare with the world that nobody disturbed."""
        self.look(self.world.cycle())
        assert self.world.leftovers() == []
        assert self.world.matrix() == self.calm.matrix()
        assert self.world.attempts() == self.calm.attempts()  # nothing is probed twice
        assert self.world.rows("SELECT session_id, cell_id FROM runs GROUP BY 1, 2 HAVING count(*) > 1") == []


@pytest.mark.parametrize(("name", "code", "phase"), [("INT", 130, "probing"), ("TERM", 143, "building")])
def test_a_signal_ends_a_cycle_and_the_next_goes_on(
    make_world: Callable[[str, str], World], calm: World, name: str, code: int, phase: str
) -> None:
    world = make_world("stopped", "docker")
    world.lose_environments()
    running = world.start(*CYCLE)
    assert running.wait_for(PHASES[phase]), running.said
    assert running.lives_after(1.5), running.said
    began = time.monotonic()
    running.process.send_signal(code - 128)
    assert running.ended() == code, running.said
    assert time.monotonic() - began < PROMPTLY_S
    assert running.said.splitlines()[-1].startswith(f"settle: stopped by {'Ctrl-C' if name == 'INT' else 'SIGTERM'};")
    assert "Traceback" not in running.said
    assert world.leftovers() == []  # without waiting for the next start
    world.cycle()
    assert world.matrix() == calm.matrix()
    assert world.attempts() == calm.attempts()
