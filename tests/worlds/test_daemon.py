"""A month in the daemon's life: real releases as they came, published models, and everything that goes wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.settings import settings_from_environment
from monitor.runner.derive import DATA
from tests.contract.proxy import SOCKET, Proxy
from tests.standins.hub import Hub
from tests.worlds.conftest import WORLDS
from tests.worlds.weather import PassingIndex, SmallDisk
from tests.worlds.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SECONDS = 300  # a day takes seconds; a stuck one is no day
FIRST = date(2026, 3, 25)
# transformers 5.4.0 came on the third day, 5.5.0 on the ninth, 5.5.3 on the 16th, 5.5.4 on the 20th, 5.6.0 on the 29th:
# 5.4.0 broke Granite, 5.5.0 brought Gemma 4 and 5.6.0 Hunyuan 3
STORIES = {
    "meta-llama/Llama-3.1-8B-Instruct": "W" * 30,
    "Qwen/Qwen3-8B": "W" * 30,
    "ibm-research/PowerLM-3b": "WWBBBBBBWWWWWWWWWWWWWWWWWWWWWW",
    "google/gemma-4-31B-it#text": "BBBBBBBBWWWWWWWWWWWWWWWWWWWWWW",
    "tencent/Hy3-preview": "BBBBBBBBBBBBBBBBBBBBBBBBBBBBWW",
}
PUBLISHED, PUBLISHED_ON = "acme/brand-new-8b", 4
CONFIG = (DATA / "published" / "Qwen__Qwen3-8B.json").read_bytes()


def tokenizer(template: str) -> bytes:
    return json.dumps({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": template}).encode()


TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


@dataclass
class DaemonState:
    """A home, what surrounds it, and the daemon that lives there."""

    world: World
    hub: Hub
    index: PassingIndex
    engine: Proxy
    disk: SmallDisk
    outside: Path  # where the days are let in, and what is said
    days: range
    chance: random.Random
    kills: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.outside / "talk.txt").open("ab") as progress:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.worlds.living", str(self.world.config),
                    str(self.outside), str(day(self.days[0])), str(day(self.days[-1])), *STORIES,
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=progress,
                env={**os.environ, "SETTLE_HOME": str(self.world.home), "DOCKER_HOST": f"unix://{self.engine.path}"},
                start_new_session=True,
            )  # fmt: skip

    def wait_for(self, number: int) -> None:
        """Wait until the day stands at the door."""
        began = time.monotonic()
        asked = self.outside / f"{day(number)}.asked"
        while not asked.exists():
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - began < SECONDS, self.said()
            time.sleep(0.02)

    def let_in(self, number: int) -> None:
        (self.outside / f"{day(number)}.let-in").touch()

    def kill(self, *, after: float) -> None:
        """Kill it at some moment of the day that was let in, unless the day is over before; then begin again."""
        assert self.process is not None
        try:
            self.process.wait(self.chance.uniform(0, after))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.kills += 1
        self.start()

    def said(self) -> str:
        return (self.outside / "talk.txt").read_text(encoding="utf-8")[-20_000:]

    def story(self, subject: str) -> str:
        rows = self.world.rows("SELECT day, verdict FROM history WHERE subject = ?", subject)
        letters = {"works": "W", "broken": "B", "flaky": "F", "unknown": "?"}
        told = {when: letters[verdict] for when, verdict in rows}
        return "".join(told.get(str(day(number)), ".") for number in range(self.days[-1] + 1))


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def morning(number: int) -> datetime:
    return datetime.combine(day(number), datetime.min.time(), UTC)


def publish(state: DaemonState) -> None:
    files = {"config.json": CONFIG, "tokenizer_config.json": tokenizer(TEMPLATE), "model.safetensors": bytes(64)}
    state.hub.publish(PUBLISHED, files, morning(PUBLISHED_ON), pipeline_tag="text-generation")


def revise(state: DaemonState) -> None:
    longer = TEMPLATE + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    state.hub.publish(PUBLISHED, {"tokenizer_config.json": tokenizer(longer)}, morning(16), title="Mend the template")


def upset_the_hub(state: DaemonState) -> None:
    state.hub.fail("/api/models", 500, times=6)
    state.hub.fail("/api/models", 429, headers={"Retry-After": "60"}, times=2)


def lose_the_index(state: DaemonState) -> None:
    state.index.gone = True


def mend_everything(state: DaemonState) -> None:
    state.index.gone = False
    state.engine.mend()
    state.disk.empty()


# what happens before a day is let in, and what while it goes on
BEFORE: dict[int, Callable[[DaemonState], object]] = {
    PUBLISHED_ON: publish,
    5: upset_the_hub,
    6: lose_the_index,
    10: lambda state: state.engine.cut(),
    13: lambda state: state.disk.fill(),
    16: revise,
    20: lambda state: state.hub.gate(PUBLISHED),
    22: lambda state: state.hub.rename(PUBLISHED, "acme/brand-new-9b"),
    25: lambda state: state.hub.delete("acme/brand-new-9b"),
}
LOST = {6, 10, 13, 15}
KILLED = {2: 8.0, 8: 12.0, 19: 8.0, 28: 12.0}
CUT_WHILE_AT_WORK = 15


@contextmanager
def a_life(days: range, seed: int) -> Iterator[DaemonState]:
    if os.getuid() != 0 or not Path(SOCKET).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("a small volume and docker's socket are needed")
        pytest.skip("needs root for a small volume, and docker's socket where it usually is")
    home = WORLDS / "living"
    disk = SmallDisk(home, WORLDS / "living-installed", mib=256)
    with ExitStack() as stack:
        hub, index = stack.enter_context(Hub()), stack.enter_context(PassingIndex())
        stack.enter_context(disk.mounted())
        outside = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = Proxy(outside / "s")
        stack.callback(engine.close)
        world = World(home, home / "settle.toml", "docker")
        write_config(world.config, index.url, hub.url)
        state = DaemonState(world, hub, index, engine, disk, outside, days, random.Random(seed))  # noqa: S311 - repeatable, not secret
        try:
            yield state
        finally:
            if state.process is not None and state.process.poll() is None:
                os.killpg(state.process.pid, 9)
                state.process.wait()


def write_config(path: Path, index: str, hub: str) -> None:
    links = json.dumps(list(settings_from_environment(os.environ).find_links))
    nobody = "\n".join(f'{name} = ""' for name in ("transformers", "vllm", "llama_cpp", "ollama"))
    path.write_text(
        f'engine = "docker"\n[install]\nindex_url = "{index}"\nfind_links = {links}\nno_proxy = "127.0.0.1"\n'
        '[disk]\nfloor_gib = 0.01\n[daemon]\ntick_seconds = 3600\nlisten = ""\n'
        f'[hub]\nendpoint = "{hub}"\norganisations = ["acme"]\npoll_minutes = 360\n'
        f"[releases]\npoll_minutes = 720\n[releases.repositories]\n{nobody}\n",
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("days", "seed"),
    [
        pytest.param(range(4, 11), 1, id="a-week", marks=pytest.mark.timeout(1200)),
        pytest.param(range(30), 2, id="a-month", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_what_the_daemon_remembers_is_what_happened(days: range, seed: int) -> None:
    with a_life(days, seed) as state:
        live(state)
        look(state)


def live(state: DaemonState) -> None:
    state.start()
    for number in state.days:
        state.wait_for(number)
        mend_everything(state)
        if number in BEFORE:
            BEFORE[number](state)
        state.let_in(number)
        if number in KILLED:
            state.kill(after=KILLED[number])
        if number == CUT_WHILE_AT_WORK:
            time.sleep(state.chance.uniform(1, 6))
            state.engine.cut()
    assert state.process is not None
    assert state.process.wait(SECONDS) == 0, state.said()


def look(state: DaemonState) -> None:
    """Compare with what one would write down by hand."""
    world, days = state.world, state.days
    assert "Traceback" not in (state.outside / "talk.txt").read_text(encoding="utf-8")
    assert world.damage() == []
    assert state.index.refused > 0
    for subject, story in {**STORIES, PUBLISHED: "." * PUBLISHED_ON + "W" * 26}.items():
        told = state.story(subject)
        print(f"{told} {subject}")  # noqa: T201 - the history, for whoever looks
        for number in days:
            allowed = {story[number], *(".?" if number in LOST else "")}
            assert told[number] in allowed, f"{subject} on day {number}: {told}, not {story}\n{state.said()}"
    assert world.rows("SELECT * FROM history WHERE verdict = 'broken' AND blame = 'infra'") == []
    told_flips = world.rows("SELECT day, cell_id, before, after FROM flips ORDER BY day, cell_id")
    assert [(date.fromisoformat(when), cell.partition("@")[0], *change) for when, cell, *change in told_flips] == [
        (day(number), subject, *change)
        for number, subject, *change in (
            (2, "ibm-research/PowerLM-3b", "works", "broken"),
            (8, "google/gemma-4-31B-it#text", "broken", "works"),
            (8, "ibm-research/PowerLM-3b", "broken", "works"),
            (28, "tencent/Hy3-preview", "broken", "works"),
        )
        if number in days
    ]
    states = [state for (state,) in world.rows("SELECT state FROM model_states ORDER BY id")]
    print(states, f"{state.kills} kills")  # noqa: T201 - as above
    assert states[0] == "listed"
    if days[-1] > 25:
        assert {"gated", "renamed", "vanished"} <= set(states)
        assert world.rows("SELECT DISTINCT epoch FROM revised ORDER BY epoch") == [(1,), (2,)]
