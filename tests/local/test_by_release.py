"""A list of releases is measured as of their release days, and the same command continues it on another day."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from monitor.domain import Channel, Release, Runtime
from monitor.errors import InfraError
from monitor.runner.parallel import RuntimeTools
from monitor.store import open_store
from tests.local.test_cycle import NAMES, NOW, Home, ScriptedSessions, scripted_runner
from tools.by_release import measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.runner.parallel import Runner

PUBLISHED = NOW - timedelta(days=30)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_store(tmp_path) as store:
        home = Home(store, ScriptedSessions())
        store.record_releases([Release(Runtime.TRANSFORMERS, "5.4.0", Channel.STABLE, PUBLISHED)], NOW)
        yield home


def runner_of(home: Home) -> Runner:
    sessions: Any = home.sessions
    installer: Any = SimpleNamespace(install=home.install, learn_releases=lambda _: None)
    tools = RuntimeTools(home.recipe, installer, sessions)
    return scripted_runner(home.store, home.subjects[0], home.install, sessions, tools_for=lambda _: tools)


def test_what_is_measured_is_not_measured_again(home: Home) -> None:
    measure(runner_of(home), home.subjects, ["transformers==5.4.0"])
    rows = home.store.by_release(installed="release-day")
    assert {(row["subject"], row["verdict"]) for row in rows} == {(name, "works") for name in NAMES}
    assert {date.fromisoformat(row["day"]) for row in rows} == {PUBLISHED.date()}
    home.sessions.held.clear()
    measure(runner_of(home), home.subjects, ["transformers==5.4.0"])
    assert home.sessions.held == []


def test_a_release_without_a_day_is_named_and_stops_no_other(home: Home) -> None:
    with pytest.raises(InfraError, match=r"not measured: transformers==5\.9\.9") as raised:
        measure(runner_of(home), home.subjects, ["transformers==5.9.9", "transformers==5.4.0"])
    assert raised.value.hint == "the same command tries them again"
    assert len(home.store.by_release(installed="release-day")) == len(NAMES)
