"""Worlds that keep their cache from session to session and begin their history anew in each."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.connect import connect
from containers.errors import EngineUnavailable
from containers.settings import settings_from_environment
from tests.specimens.packages import build_wheels
from tests.worlds.world import World, write_config

if TYPE_CHECKING:
    from collections.abc import Callable

WORLDS = Path(__file__).parents[2] / ".settle-test" / "worlds"
BREAKS = "segfault"  # only Qwen 3, so that a cycle has something to confirm


@pytest.fixture(scope="session")
def config() -> Path:
    WORLDS.mkdir(parents=True, exist_ok=True)
    wheels = WORLDS / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    build_wheels(wheels, [BREAKS])
    links = [*settings_from_environment(os.environ).find_links, str(wheels)]
    path = WORLDS / "settle.toml"
    package = f"settle-specimen-{BREAKS}"
    # a wheel of ours has no upload time
    write_config(path, {"find_links": links, "extra": [package], "exempt": [package]})
    return path


@pytest.fixture(scope="session")
def make_world(config: Path) -> Callable[[str, str], World]:
    """Make a world without a history; where there is a world already, its files are shared, not fetched again."""

    def make(name: str, engine: str) -> World:
        world = World(WORLDS / name, config, engine)
        world.home.mkdir(exist_ok=True)
        try:
            connect("docker" if engine == "docker" else "process", home=world.home).close()
        except EngineUnavailable as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{error}; {error.hint}")
            pytest.skip(f"{error}; {error.hint}")
        world.forget()
        first = WORLDS / "calm"
        (world.home / "install").mkdir(exist_ok=True)
        for folder in ("install/cache", "install/bytecode"):
            if not (world.home / folder).exists() and (first / folder).exists():
                shutil.copytree(first / folder, world.home / folder, copy_function=os.link, symlinks=True)
        return world

    return make


@pytest.fixture(scope="session")
def calm(make_world: Callable[[str, str], World]) -> World:
    """Hold one cycle that nobody disturbs: what the others are compared with."""
    world = make_world("calm", "docker")
    world.lose_environments()  # so that its cycle, too, has all the phases
    world.cycle()
    return world
