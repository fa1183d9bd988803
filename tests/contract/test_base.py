"""The base: found again without work, the same wherever it comes from, and a clear word when there is none."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from containers.base import ensure_base
from containers.connect import connect
from containers.errors import BaseUnavailable, EngineUnavailable
from containers.settings import settings_from_environment

if TYPE_CHECKING:
    from pathlib import Path

    from containers.base import Base
    from containers.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_a_base_is_found_again_without_work(engine: Engine, base: Base, home: Path) -> None:
    settings = settings_from_environment(os.environ)
    said: list[str] = []

    # where no registry answers, the first time is told
    first = ensure_base(engine, settings=settings, home=home, progress=print)
    began = time.monotonic()
    second = ensure_base(engine, settings=settings, home=home, progress=said.append)

    assert first == second == base
    assert time.monotonic() - began < (0.2 if engine.isolated else 1.0)
    assert said == []
    assert base.python == settings.python
    assert bool(base.image) == engine.isolated


def test_a_python_that_is_nowhere_is_said(home: Path) -> None:
    settings = replace(settings_from_environment({}), python="3.77")

    with pytest.raises(BaseUnavailable, match=r"no Python 3\.77") as caught:
        ensure_base(connect("process", home=home), settings=settings, home=home, progress=print)

    assert "3.77" in caught.value.hint


def test_a_named_engine_that_does_not_answer_is_not_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/nothing.sock")
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{home}/nothing.sock")

    with pytest.raises(EngineUnavailable, match="docker does not answer") as caught:
        connect("docker", home=home)
    with pytest.raises(EngineUnavailable, match="podman does not answer"):
        connect("podman", home=home)

    assert "--engine process" in caught.value.hint
    assert connect("auto", home=home).name == "process"
