"""Keeps the unit tests' files in memory where it has room, and asks no test for speed: a busy machine is no failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from monitor.store import open_store
from tests.standins.days import World

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")
WANTED_BYTES = 1 << 30


def pytest_configure(config: pytest.Config) -> None:
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > WANTED_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("quick", patient, max_examples=50)
    settings.register_profile("thorough", patient, max_examples=2000)  # make soak
    settings.load_profile(config.getoption("--hypothesis-profile") or "quick")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        yield World(store)
