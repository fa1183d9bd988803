"""All runtimes side by side: what was asked is counted, lettered and explained, and what was not asked is a dot."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from monitor.domain import Channel, InstalledAsOf, Origin, Release, Runtime
from monitor.judge.parity import ParityCause
from monitor.store import open_store
from tests.standins.days import FIRST, World
from tests.standins.traces import DIFFERS, TRACE, told
from tools.docs_pages import runtimes_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.report.format import Section

AT = datetime(2026, 3, 1, tzinfo=UTC)
BY_HAND: dict[str, Any] = {"origin": Origin.ADHOC, "installed": InstalledAsOf.RELEASE_DAY}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[dict[str, Section]]:
    """Record a reference, an older llama.cpp that is far from it, and a newer one that agrees with it."""
    with open_store(tmp_path) as store:
        world = World(store)
        store.record_releases(
            [Release(Runtime.XLLAMACPP, version, Channel.STABLE, AT.replace(day=day))
             for version, day in (("9.0", 1), ("10.0", 2))], AT,
        )  # fmt: skip
        store.record_parity_causes([ParityCause("llama.cpp", "newarch", "no window")])
        world.run("W", FIRST, events=told("acme/new", Runtime.TRANSFORMERS, {"trace": TRACE}))
        other = replace(world.cell, runtime=Runtime.XLLAMACPP)
        for version, ending in (("10.0", {"outcome": "passed", "evidence": {"maximum": 1e-6}}), ("9.0", DIFFERS)):
            events = told("acme/new", Runtime.XLLAMACPP, {}, wrong="matches.logprobs", ending=ending)
            world.run("W", FIRST, other, events=events, version=version, **BY_HAND)
        for solo in (False, True):
            world.run("B", FIRST, version="5.0.0", solo=solo, **BY_HAND)
        world.run("?", FIRST, world.control)
        yield {section.title: section for section in runtimes_page(store)}


def test_every_release_is_counted_in_the_order_in_which_they_were_published(page: dict[str, Section]) -> None:
    counts = page["How much works in which release"]
    measured = counts.columns.index("measured")
    assert [(*row[:3], row[measured]) for row in counts.rows] == [
        ("transformers", "5.0.0", "", "1"),
        ("transformers", "5.4.0", "", "2"),
        ("xllamacpp", "9.0", "2026-03-01", "1"),
        ("xllamacpp", "10.0", "2026-03-02", "1"),  # as a text it stands before 9.0
    ]
    hung_on = {row[1]: row[3:6] for row in counts.rows}
    assert hung_on["9.0"] == ("2026-04-01, its release day", "2.13.0", "")


def test_every_release_has_a_letter_for_every_subject(page: dict[str, Section]) -> None:
    every = page["Every release"]
    assert every.columns == ("subject", "transformers 5.0.0", "transformers 5.4.0", "xllamacpp 9.0", "xllamacpp 10.0")
    assert sorted(every.rows) == [("acme/new", "B", "W", "W", "W"), ("acme/old", ".", "?", ".", ".")]


def test_the_newest_stand_side_by_side_with_why_they_do_not_work(page: dict[str, Section]) -> None:
    newest = page["The newest releases"]
    assert newest.columns == ("subject", "transformers 5.4.0", "xllamacpp 10.0")
    assert {row[0]: row[1:] for row in newest.rows}["acme/new"] == ("works", "works")
    ((release, verdict, blame, reason, subjects, run),) = page["Reasons in the newest releases"].rows
    assert (release, verdict, blame, subjects) == ("transformers 5.4.0", "unknown", "infra", "acme/old")
    assert "the engine went away" in reason
    assert run


def test_parity_is_told_by_release_and_every_difference_with_its_cause(page: dict[str, Section]) -> None:
    assert page["Parity: how far numbers are from the reference"].rows == (
        ("xllamacpp 9.0", "1", "0", "1", "0", "0.5, acme/new"),
        ("xllamacpp 10.0", "1", "1", "0", "0", "1e-06, acme/new"),
    )
    (apart,) = page["Every difference beyond rounding"].rows
    assert apart[:7] == ("acme/new", "xllamacpp 9.0", "0.5", "0.25", "0.001", "failed", "no window")
    assert apart[7] == "xllamacpp 10.0"
