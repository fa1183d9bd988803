"""Which days a replay looks at, and what two locks say of each other."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import Channel, Release, Runtime
from monitor.judge.lock_diff import moved
from monitor.schedule.past import Every, days_between, end_of, next_change, release_days, spans
from monitor.store.records import imported_pins

FIRST = date(2026, 4, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def release(version: str, number: int, channel: Channel = Channel.STABLE, yanked: str = "") -> Release:
    at = datetime.combine(day(number), datetime.min.time(), UTC) + timedelta(hours=23)
    return Release(Runtime.TRANSFORMERS, version, channel, at, yanked)


def test_days_with_a_release_that_a_user_may_have_got() -> None:
    releases = [
        release("4.0", -5),
        release("5.0rc1", 2, Channel.PRERELEASE),
        release("5.0", 4),
        release("4.9.1", 4),  # a parallel branch: the resolver decides what it means
        release("5.1", 6, yanked="broken"),
        release("5.2", 9),
    ]
    assert release_days(releases, FIRST, day(8)) == [FIRST, day(4)]
    assert list(spans([FIRST, day(4)], day(8))) == [(FIRST, day(3)), (day(4), day(8))]
    assert end_of(FIRST).isoformat() == "2026-04-01T23:59:59+00:00"


def looked_at(story: str, every: Every) -> tuple[list[date], set[date]]:
    """Walk through days whose pins are the letters of the story; return where it stopped, and what it resolved."""
    asked: set[date] = set()

    def pins(one: date) -> str:
        asked.add(one)
        return story[(one - FIRST).days]

    here, until, stops = FIRST, day(len(story) - 1), []
    while here <= until:
        stops.append(here)
        here = next_change(here, until, every, pins)
    return stops, asked


@pytest.mark.parametrize(
    ("story", "every", "stops"),
    [
        ("aaaa", Every.RELEASE, [0]),
        ("aabb", Every.RELEASE, [0]),
        ("a", Every.CHANGE, [0]),
        ("aaaa", Every.CHANGE, [0]),
        ("aabb", Every.CHANGE, [0, 2]),
        ("abbccccd", Every.CHANGE, [0, 1, 3, 7]),
        ("aab", Every.DAY, [0, 1, 2]),
    ],
)
def test_where_a_replay_stops(story: str, every: Every, stops: list[int]) -> None:
    assert looked_at(story, every)[0] == [day(number) for number in stops]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_bisection_finds_every_change_and_asks_few_days(lengths: list[int]) -> None:
    story = "".join(letter * length for letter, length in zip("abcdef", lengths, strict=False))
    stops, asked = looked_at(story, Every.CHANGE)
    starts = [
        installation
        for installation in range(len(story))
        if installation == 0 or story[installation] != story[installation - 1]
    ]
    assert stops == [day(installation) for installation in starts]
    assert len(asked) <= 1 + 8 * len(lengths)  # seven halvings of 240 days, and the end


def test_days_between_are_none_when_the_end_comes_first() -> None:
    assert list(days_between(FIRST, day(1))) == [FIRST, day(1)]
    assert list(days_between(day(1), FIRST)) == []


def test_what_moved_between_two_locks() -> None:
    before = {"numpy": "2.1", "torch": "2.13.0", "six": "1.0"}
    after = {"numpy": "2.2", "torch": "2.13.0", "regex": "2026.1"}
    assert [str(one) for one in moved(before, after)] == ["numpy 2.1 → 2.2", "+regex 2026.1", "-six 1.0"]
    assert imported_pins(before, {"torch", "numpy", "jinja2"}) == "numpy==2.1 torch==2.13.0"
    assert imported_pins(before, ()) == ""
