"""A pinned version lives on its release day; what it does with later packages is another question, kept apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor import verdicts
from monitor.domain import Channel, InstalledAsOf, Origin, Release, Runtime, version_order
from monitor.errors import UnknownName
from monitor.judge.days import Fingerprint
from monitor.runner.release_day import dated_by
from monitor.runner.request import ProbeRequest
from monitor.store import open_store
from tests.standins.days import FIRST, World
from tools.by_release import chosen, lasting, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
AT_RELEASE, LATER = InstalledAsOf.RELEASE_DAY, InstalledAsOf.RUN_DAY


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        yield World(store)


def request_for(version: str) -> ProbeRequest:
    return ProbeRequest(
        runtime=Runtime.VLLM, version=version, day=NOW.date(), cutoff=NOW, origin=Origin.ADHOC, subjects=[]
    )


def released(version: str, at: datetime) -> Release:
    return Release(Runtime.VLLM, version, Channel.STABLE, at)


def test_a_pinned_version_is_resolved_as_of_the_end_of_its_release_day() -> None:
    releases = [released("0.23.0", NOW - timedelta(days=40)), released("0.24.0", datetime(2026, 7, 10, 3, tzinfo=UTC))]
    dated = dated_by(releases, request_for("0.24"))
    assert (dated.day, dated.installed) == (date(2026, 7, 10), AT_RELEASE)
    assert dated.cutoff == datetime(2026, 7, 10, 23, 59, 59, tzinfo=UTC)


def test_a_version_of_today_is_cut_off_now_and_one_without_a_day_stays_as_asked() -> None:
    assert dated_by([released("0.32.0", NOW)], request_for("0.32.0")).cutoff == NOW
    assert dated_by([released("0.32.0", NOW)], request_for("0.31.0")) == request_for("0.31.0")


def by_hand(
    world: World, letter: str, version: str, installed: InstalledAsOf, day: date = FIRST, **changes: Any
) -> None:
    changes.setdefault("fingerprint", Fingerprint(f"env-{version}-{installed}", "suite-1", "files"))
    for solo in (False, True):
        world.run(letter, day, origin=Origin.ADHOC, version=version, installed=installed, solo=solo, **changes)


def rows(world: World) -> list[tuple[str, str, str, str | None]]:
    found = world.store.by_release(cell=world.cell.id)
    return [(row["version"], row["installed"], row["verdict"], row["blame"]) for row in found]


def test_the_two_questions_are_kept_apart(world: World) -> None:
    by_hand(world, "W", "5.0.0", AT_RELEASE)
    by_hand(world, "W", "5.0.0", LATER, FIRST + timedelta(days=90))
    assert rows(world) == [("5.0.0", "release-day", "works", None), ("5.0.0", "run-day", "works", None)]
    world.run("W", FIRST + timedelta(days=91), version="5.0.0")
    assert [row[1] for row in rows(world)] == ["daily", "release-day"]  # the history knows a later day


@pytest.mark.parametrize("release_day_first", [True, False])
def test_a_failure_that_newer_packages_bring_is_the_dependencys(world: World, *, release_day_first: bool) -> None:
    """Defect: Gemma 4 in vLLM 0.24.0 was red for an error of a transformers that came months later."""
    asked = [("W", AT_RELEASE, FIRST), ("B", LATER, FIRST + timedelta(days=90))]
    for letter, installed, day in asked if release_day_first else asked[::-1]:
        by_hand(world, letter, "5.0.0", installed, day)
    expected = [("5.0.0", "release-day", "works", None), ("5.0.0", "run-day", "broken", "dependency")]
    assert rows(world) == expected
    (reason,) = [row["reason"] for row in world.store.by_release(cell=world.cell.id, installed="run-day")]
    assert "it works with the packages of its release day" in reason
    verdicts.rejudge(world.store)
    assert rows(world) == expected


def test_a_failure_on_the_release_day_stays_the_runtimes(world: World) -> None:
    by_hand(world, "B", "5.0.0", AT_RELEASE)
    by_hand(world, "B", "5.0.0", LATER, FIRST + timedelta(days=90))
    assert {row[3] for row in rows(world)} == {"runtime"}


def test_other_files_say_nothing_about_newer_packages(world: World) -> None:
    by_hand(world, "W", "5.0.0", AT_RELEASE)
    other = Fingerprint("env-later", "suite-1", "other files")
    by_hand(world, "B", "5.0.0", LATER, FIRST + timedelta(days=90), fingerprint=other)
    assert rows(world)[1][2:] == ("broken", "runtime")


def test_a_row_shows_what_it_hung_on_and_the_tracks_above_the_bar(world: World) -> None:
    by_hand(world, "W", "5.0.0", AT_RELEASE)
    (row,) = world.store.by_release(cell=world.cell.id)
    assert (row["torch"], row["transformers"]) == ("2.13.0", None)
    assert {row["matches"], row["serves"]} <= {"passed", "not-measured", None}
    assert row["environment"] == "env-5.0.0-release-day"


def test_versions_sort_as_versions(world: World) -> None:
    for version in ("5.10.0", "5.9.0", "5.9.0 with peft==0.18.0", "5.10.0rc1"):
        by_hand(world, "W", version, LATER)
    versions = [row["version"] for row in world.store.by_release(cell=world.cell.id)]
    assert versions == ["5.9.0", "5.9.0 with peft==0.18.0", "5.10.0rc1", "5.10.0"]
    assert max(["1.0", "", "none"], key=version_order) == "1.0"


def test_what_is_settled_is_not_measured_again(world: World) -> None:
    by_hand(world, "W", "5.0.0", AT_RELEASE, fingerprint=Fingerprint("env", "suite-1", "files-acme/new"))

    def settled(version: str, suite: str) -> set[str]:
        return lasting(world.store.report.measured_by_release(Runtime.TRANSFORMERS, version, suite=suite))

    assert settled("5.0.0", "suite-1") == {"acme/new"}
    assert settled("5.0.0", "suite-2") == set()
    by_hand(world, "?", "5.1.0", AT_RELEASE, fingerprint=Fingerprint("env", "suite-1", "files-acme/new"))
    assert settled("5.1.0", "suite-1") == set()
    assert len(world.store.report.measured_by_release(Runtime.TRANSFORMERS, "5.1.0", suite="suite-1")) == 1


def test_the_listed_releases_can_be_chosen() -> None:
    assert {runtime for runtime, _ in chosen([])} == set(listed())
    assert chosen(["vllm==0.24.0"]) == [(Runtime.VLLM, "0.24.0")]
    assert len(chosen(["vllm"])) == len(set(chosen(["vllm"]))) >= 31
    with pytest.raises(UnknownName):
        chosen(["nothing"])


def test_a_pair_of_versions_has_no_release_day() -> None:
    assert replace(request_for("0.24.0"), extra_pins=("torch==2.11.0",)).installed is LATER
