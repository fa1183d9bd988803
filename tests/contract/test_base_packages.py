"""A base with more Debian packages: made once, in a container with the network, and another base only where it is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from containers.base import ExtendingEngine, base_with_packages
from containers.engine import Command, CommandLimits, Role
from containers.errors import BaseUnavailable
from containers.settings import settings_from_environment

if TYPE_CHECKING:
    from containers.base import Base
    from containers.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

SMALL = "hello"  # what no base has: 60 kB, and a program that can be run


def test_a_package_is_added_once_and_the_base_that_has_it_is_another(engine: Engine, base: Base) -> None:
    settings, said = settings_from_environment(os.environ), list[str]()
    if not isinstance(engine, ExtendingEngine):
        pytest.skip("a plain process has this machine's packages")

    first = base_with_packages(engine, base, [SMALL], settings=settings, progress=print)
    began = time.monotonic()
    second = base_with_packages(engine, base, [SMALL], settings=settings, progress=said.append)

    assert first == second
    assert said == []
    assert time.monotonic() - began < 5
    assert first.digest != base.digest
    assert (first.python, first.interpreter) == (base.python, base.interpreter)
    limits = CommandLimits(seconds=60, memory_bytes=256 << 20)
    ran = engine.run(Command(("hello",), Role.PROBE, limits, image=first.image))
    assert ran.ok, ran.log
    assert not engine.run(Command(("hello",), Role.PROBE, limits, image=base.image)).ok


def test_what_a_base_has_already_changes_nothing(engine: Engine, base: Base) -> None:
    settings = settings_from_environment(os.environ)
    assert base_with_packages(engine, base, [], settings=settings, progress=pytest.fail) == base
    if isinstance(engine, ExtendingEngine):
        assert base_with_packages(engine, base, ["libc6", "python3"], settings=settings, progress=pytest.fail) == base


def test_a_package_that_does_not_exist_is_named(engine: Engine, base: Base) -> None:
    with pytest.raises(BaseUnavailable, match="no-such-package-anywhere") as caught:
        base_with_packages(
            engine, base, ["no-such-package-anywhere"], settings=settings_from_environment({}), progress=print
        )
    assert caught.value.hint
