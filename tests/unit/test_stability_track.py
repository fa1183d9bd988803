"""Stabilizations of histories that were worked out by hand, a letter a day, and what holds of all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.stability.track import stabilization
from monitor.stability.words import Observation, Span, Stabilization, Standing
from monitor.words import CellVerdict

FIRST = date(2026, 4, 1)
VERDICTS = {
    "W": CellVerdict.WORKS,
    "B": CellVerdict.BROKEN,
    "F": CellVerdict.FLAKY,
    "?": CellVerdict.UNKNOWN,
}


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def lived(story: str, versions: str = "") -> list[Observation]:
    """Read a letter a day ("." is no observation) beside the release of each day, which stays while the letters end."""
    versions = versions.ljust(len(story), versions[-1:] or "1")
    return [
        Observation(day(number), VERDICTS[letter], version=versions[number])
        for number, letter in enumerate(story)
        if letter != "."
    ]


def answer(story: str, versions: str = "", released: int | None = 0, window: int = 14) -> Stabilization:
    zero = None if released is None else day(released)
    return stabilization(lived(story, versions), released=zero, through=day(len(story)), window=window)


def span(after: int | None, by: int | None) -> Span:
    return Span(None if after is None else day(after), None if by is None else day(by))


@pytest.mark.parametrize(
    ("story", "works"),
    [
        ("", (None, None)),
        ("??", (None, None)),
        ("W", (None, 0)),
        ("BBW", (1, 2)),
        ("B??W", (0, 3)),
        ("BF?W", (1, 3)),
        ("BB?", (1, None)),
        ("?W", (None, 1)),
    ],
)
def test_first_works_lies_after_the_last_failing_day(story: str, works: tuple[int | None, int | None]) -> None:
    assert answer(story).works == span(*works)


@pytest.mark.parametrize(
    ("story", "versions", "stable", "standing"),
    [
        ("BB" + "W" * 14, "1" * 8 + "2", (1, 2), Standing.STABLE),
        ("BB" + "W" * 13, "1" * 8 + "2", (1, None), Standing.PROVISIONAL),  # a day too young
        ("BB" + "W" * 30, "1", (1, None), Standing.PROVISIONAL),  # nothing new in all that time
        ("BB" + "W" * 30, "1" * 28 + "2", (1, 2), Standing.STABLE),  # and then something
        ("BB" + "W" * 30, "112", (1, None), Standing.PROVISIONAL),  # new on its first day: nothing has changed since
        ("W" * 14, "12", (None, 0), Standing.STABLE),
        ("W" * 7 + "B" + "W" * 14, "1" * 9 + "2", (7, 8), Standing.STABLE),
        ("W" * 7 + "F" + "W" * 14, "1" * 9 + "2", (7, 8), Standing.STABLE),
        ("W" * 7 + "?" + "W" * 6, "12", (None, 0), Standing.STABLE),  # missing data breaks nothing
        ("W..W..W.W.WWWW", "12", (None, None), Standing.PROVISIONAL),  # six of fourteen days are missing
        ("W...WWWWWWW.WWW", "12", (None, 0), Standing.STABLE),  # four are
        ("BW....WWWWWWWWWWWWWW", "1" * 9 + "2", (0, 6), Standing.STABLE),  # a hole: sure only from behind it
        ("B" * 9, "", (8, None), Standing.BROKEN),
        ("W" * 15 + "B", "12", (None, 0), Standing.REGRESSED),
        ("W" * 15 + "F", "12", (None, 0), Standing.FLAKY),
        ("???", "", (None, None), Standing.UNKNOWN),
    ],
)
def test_stable_since(story: str, versions: str, stable: tuple[int | None, int | None], standing: Standing) -> None:
    found = answer(story, versions)
    assert found.stable == span(*stable)
    assert found.standing is standing


def test_a_young_run_is_provisional_and_censored_at_the_last_day_that_did_not_pass() -> None:
    found = answer("BBBWWW")
    assert (found.provisional_since, found.stable) == (day(3), span(2, None))
    assert found.stable.days_since(FIRST) == (3.0, inf)


def test_a_regression_names_the_releases_that_brought_and_ended_it() -> None:
    story = "W" * 15 + "BB" + "?W" + "B"
    found = answer(story, "1" * 5 + "2" * 10 + "3" * 3 + "4" + "5")
    first, second = found.regressions
    assert (first.began, first.ended) == (span(14, 15), span(16, 18))
    assert (first.last_good, first.first_bad, first.fixed_by) == ("2", "3", "4")
    assert first.days_to_restore == (2.0, 3.0)
    assert (second.first_bad, second.fixed_by, second.days_to_restore) == ("5", "", (1.0, inf))


def test_what_breaks_before_it_is_stable_is_a_setback_and_flaky_is_none() -> None:
    found = answer("WWWBWWFW")
    assert [one.regression for one in found.setbacks] == [False]
    assert found.regressions == ()


@pytest.mark.parametrize(
    ("story", "released", "works", "lead"),
    [
        ("BBWWWW", 4, (0.0, 0.0), 2),  # support came first, and the lead is shown
        ("BBBBBW", 3, (2.0, 2.0), 0),
        ("BB??.W", 3, (0.0, 2.0), 0),  # the last failing day lies in the prehistory and bounds nothing after it
        ("WBBBBW", 2, (3.0, 3.0), 0),  # it worked once, before anybody had the model
        ("WBWWWW", 3, (0.0, 0.0), 1),
        ("BBBB", 2, (2.0, inf), 0),
        ("BBBB", 9, (0.0, inf), 0),
        ("WWWW", 2, (0.0, 0.0), 2),
    ],
)
def test_days_are_counted_from_the_release(story: str, released: int, works: tuple[float, float], lead: int) -> None:
    found = answer(story, released=released)
    assert found.works.days_since(day(released)) == works
    assert found.lead_days == lead


def test_setbacks_of_the_prehistory_are_nobodys() -> None:
    assert answer("WWBBWW", released=5).setbacks == ()
    assert len(answer("WWBBWW", released=None).setbacks) == 1


def test_new_files_begin_an_epoch_and_never_set_the_clock_back() -> None:
    days = [replace(one, epoch="a" if one.day < day(3) else "b") for one in lived("BBBWW")]
    found = stabilization(days, released=FIRST, through=day(9))
    assert found.epochs == (("a", FIRST), ("b", day(3)))
    assert found.works.days_since(FIRST) == (3.0, 3.0)


def test_carried_days_are_valid_and_days_after_the_end_are_not_looked_at() -> None:
    days = [replace(one, carried=one.day > FIRST) for one in lived("W" * 20, "12")]
    found = stabilization(days, released=FIRST, through=day(13))
    assert (found.valid_days, found.carried_days, found.stable) == (14, 13, span(None, 0))


STORIES = st.text("WWWWWWWBF?.", min_size=1, max_size=80)
CHANGES = st.text("1112", min_size=1, max_size=80)


@given(STORIES, CHANGES, st.integers(-10, 40))
def test_stable_is_never_before_works_and_a_longer_window_never_earlier(
    story: str, versions: str, released: int
) -> None:
    found = {window: answer(story, versions, released, window) for window in (7, 14, 30)}
    zero = day(released)
    for one in found.values():
        for worked, lasted in zip(one.works.days_since(zero), one.stable.days_since(zero), strict=True):
            assert worked <= lasted
    by = [one.stable.by or date.max for one in found.values()]
    assert by == sorted(by)
    assert found[14].established == answer(story, versions, released, 30).stable


@given(STORIES, CHANGES, st.integers(0, 40))
def test_unknown_days_change_nothing(story: str, versions: str, released: int) -> None:
    versions = versions.ljust(len(story), versions[-1])
    without = stabilization(
        [one for one in lived(story, versions) if one.valid], released=day(released), through=day(len(story))
    )
    assert answer(story, versions, released) == without


@given(STORIES, CHANGES)
def test_the_order_of_observations_does_not_matter(story: str, versions: str) -> None:
    days = lived(story, versions)
    there, back = (stabilization(one, released=FIRST, through=day(90)) for one in (days, days[::-1]))
    assert there == back
