"""A history told as a row of letters: W works, B broken, F flaky, ? unknown, . missing, w carried; | the release day.

The row below it names each day's version; a blank stands for the one before.
"""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import BAR, CellVerdict, Rung, Verdict
from monitor.stability.track import sensitivity, stabilization
from monitor.stability.values import Lack, Observation, Span, Stabilization, of_rung, up_to_rung

if TYPE_CHECKING:
    from random import Random

RELEASED = date(2026, 4, 1)
SAYS = {
    "W": CellVerdict.WORKS,
    "w": CellVerdict.WORKS,
    "B": CellVerdict.BROKEN,
    "F": CellVerdict.FLAKY,
    "?": CellVerdict.UNKNOWN,
}


def history(days: str, versions: str = "", epochs: str = "") -> tuple[Observation, ...]:
    """Return a row's observations; its first day, or the one after the |, is the release day."""
    before = max(0, days.find("|"))
    days = days.replace("|", "")
    seen, version, epoch = [], "", ""
    for at, letter in enumerate(days):
        version = versions[at : at + 1].strip() or version
        epoch = epochs[at : at + 1].strip() or epoch
        if letter != ".":
            day = RELEASED + timedelta(days=at - before)
            seen.append(Observation(day, SAYS[letter], version, epoch=epoch, carried=letter == "w"))
    return tuple(seen)


def judged(days: str, versions: str = "", *, window: int = 14, epochs: str = "") -> Stabilization:
    through = RELEASED + timedelta(days=len(days.replace("|", "")) - 1 - max(0, days.find("|")))
    return stabilization(history(days, versions, epochs), released=RELEASED, through=through, window=window)


def between(span: Span) -> tuple[int | None, int | None]:
    """Return a span as days since the release."""
    after, by = ((None if day is None else (day - RELEASED).days) for day in (span.after, span.by))
    return after, by


@pytest.mark.parametrize(
    ("days", "works", "censoring"),
    [
        ("BBW", (1, 2), "exact"),
        ("BB??W", (1, 4), "interval"),
        ("BB..W", (1, 4), "interval"),
        ("WWW", (None, 0), "left"),
        ("??W", (None, 2), "left"),
        ("BBF", (2, None), "right"),
        ("BB??", (1, None), "right"),
        ("BFW", (1, 2), "exact"),
        ("????", (None, None), "right"),
        ("", (None, None), "right"),
        ("BWBBW", (0, 1), "exact"),  # the first time counts; keeping to work is another question
    ],
)
def test_first_works_between_the_last_failing_and_the_first_passing_day(
    days: str, works: tuple[int | None, int | None], censoring: str
) -> None:
    found = judged(days).works
    assert (between(found), str(found.censoring)) == (works, censoring)


@pytest.mark.parametrize(
    ("days", "works", "times", "lead"),
    [
        ("WW|WW", (None, -2), (0, 0), 2),
        ("BW|WW", (-2, -1), (0, 0), 1),
        ("BB|WW", (-1, 0), (0, 0), 0),
        ("BB|.W", (-1, 1), (0, 1), 0),
        ("WB|BW", (0, 1), (1, 1), 0),  # it did not work when it was released, whatever came before
        ("WB|W", (-1, 0), (0, 0), 0),
        ("W.|.BW", (None, -2), (0, 0), 2),
        ("BB|BB", (1, None), (2, None), None),
        # lost by the release: it did not come first
        ("WW|BBBB", (3, None), (4, None), None),
        ("WW|BBBW", (2, 3), (3, 3), 0),
        ("WW|FBBW", (2, 3), (3, 3), 0),
        ("W.|.BBB", (3, None), (4, None), None),
        ("W..|...BBW", (4, 5), (5, 5), 0),
        ("WW|...", (None, -2), (0, 0), 2),
    ],
)
def test_days_before_the_release_are_bounds_and_support_that_came_first_counts_as_zero(
    days: str, works: tuple[int | None, int | None], times: tuple[int, int | None], lead: int | None
) -> None:
    found = judged(days)
    assert (between(found.works), found.works.days(RELEASED), found.lead) == (works, times, lead)
    assert found.regressions == ()


@pytest.mark.parametrize(
    ("days", "versions", "stable", "proven"),
    [
        ("BBWWWWWWWWWWWWWW", "a   b", (1, 2), 15),
        ("BBWWWWWWWWWWWWW", "a   b", (1, None), None),  # 13 days
        ("BBWWWWWWWWWWWWWW", "a b", (1, None), None),  # the release that mended it is not one that came since
        ("BBWWWWWWWWWWWWWWWWW", "a b              c", (1, 2), 17),  # a frozen lock: the run goes on until a change
        ("BBWWwwwWWwwwWWWW", "a   b", (1, 2), 15),
        ("BBW??WWWWWWW?WWW", "a     b", (1, 2), 15),
        ("BBW????WWWWWWWWWWWWW", "a        b", (1, None), None),  # a gap of 4: 13 days since
        ("BBW????WWWWWWWWWWWWWW", "a        b", (1, 7), 20),  # it may have begun before the gap
        ("BBWWW..WWWWWWWWFWWWWWWWWWWWWWW", "a       b        c", (15, 16), 29),  # flaky ends a run
        ("BBWWWWWWFWWWWWWWWWWWWWW", "a   b       c", (8, 9), 22),
        ("BBW?W?W?W?WWWWWWW", "a    b", (1, 2), 15),  # 10 of 14
        ("BBW?W?W?W?W?WWWWWWWWWW", "a   b", (1, 2), 19),  # 9 of 14, until enough of them are valid
        ("B.WWWWWWWWWWWWWW", "a   b", (0, 2), 15),
        ("WWWWWWWWWWWWWW", "a  b", (None, 0), 13),
        ("WW|WWWWWWWWWWWW", "a  b", (None, -2), 11),
        ("BB|BBBB", "a  b", (3, None), None),
    ],
)
def test_stable_is_the_beginning_of_the_first_run_that_proves_something(
    days: str, versions: str, stable: tuple[int | None, int | None], proven: int | None
) -> None:
    found = judged(days, versions).stable
    assert between(found.span) == stable
    assert (found.proven and (found.proven - RELEASED).days) == proven


def test_a_run_too_thinly_seen_to_be_refused_widens_the_answer() -> None:
    thin = "BW....W.....W..W" + "B" + 14 * "W"
    assert between(judged(thin, "a    " + 15 * " " + "b").stable.span) == (0, 17)
    begun_unseen = 5 * "W" + "B" + 14 * "W"  # it may have worked for long before it was first looked at
    assert between(judged(begun_unseen, "a" + 9 * " " + "b").stable.span) == (None, 6)
    well_seen = "BWWWWWWWWWWWWWWW" + "B" + 14 * "W"  # a frozen lock, and every day of it seen
    assert between(judged(well_seen, "a" + 19 * " " + "b").stable.span) == (16, 17)


def test_established_takes_thirty_days() -> None:
    found = judged("B" + 29 * "W", "a   b")
    assert (found.stable.met, found.established.met) == (True, False)
    found = judged("B" + 30 * "W", "a   b")
    assert (between(found.established.span), found.established.window) == ((0, 1), 30)


def test_stable_is_told_for_other_windows_too() -> None:
    days = history("BWWWWWWWWB" + 20 * "W", "a  b" + 10 * " " + "c")
    found = sensitivity(days, released=RELEASED, through=days[-1].day)
    assert {window: between(one.span) for window, one in found.items()} == {
        7: (0, 1),
        14: (9, 10),
        21: (9, None),
        30: (9, None),
    }


def test_a_change_of_pins_is_a_change() -> None:
    frozen = history("B" + 14 * "W")
    changed = [dataclasses.replace(one, pins="torch 2.9" if at > 7 else "torch 2.8") for at, one in enumerate(frozen)]
    through = frozen[-1].day
    assert not stabilization(frozen, released=RELEASED, through=through).stable.met
    assert stabilization(changed, released=RELEASED, through=through).stable.met


def test_a_younger_run_is_provisional() -> None:
    found = judged("BBB??WWW?WW", "a")
    assert found.provisional is not None
    assert between(found.provisional.span) == (2, 5)
    assert (found.provisional.days, found.provisional.valid) == (6, 5)
    assert found.provisional.lacks == (Lack.DAYS, Lack.CHANGE)
    assert between(found.stable.span) == (2, None)  # censored there, not today
    assert judged("BBBWWB").provisional is None
    assert judged("B" + 15 * "W", "a   b").provisional is None
    sparse = judged("BW..W..W..W..W..W..W", "a b c")
    assert sparse.provisional is not None
    assert sparse.provisional.lacks == (Lack.VALID_DAYS,)


def test_what_is_seen_too_thinly_is_undecided() -> None:
    weekly = judged("B" + "......W" * 6, "a      b      c")
    assert weekly.stable.undecided
    assert weekly.stable.days(RELEASED) == (1, None)
    assert not judged(42 * "B", "a     b" + 30 * " " + "c").stable.undecided
    assert not judged(38 * "B" + "WWWW", "a     b" + 30 * " " + "c").stable.undecided  # young, not thin


def test_for_distributions_censoring_hangs_on_what_was_seen_not_on_what_passed() -> None:
    began = judged(10 * "B" + 10 * "W", "a" + 16 * " " + "b").stable
    failing = judged(20 * "B", "a" + 16 * " " + "b").stable
    assert (between(began.span), between(failing.span)) == ((9, None), (19, None))
    assert began.days(RELEASED) == failing.days(RELEASED) == (7, None)  # 14 days, begun on day 6, would be over
    assert judged(20 * "B", "a").stable.days(RELEASED) == (0, None)  # a frozen lock decides nothing
    assert judged("B" + 19 * "W", "a  b").stable.days(RELEASED) == (1, 1)


@pytest.mark.parametrize(
    ("after", "versions", "regressions"),
    [
        ("BBW", "c d", [((14, 15), "b", "c", (16, 17), "d", 2, 2)]),
        ("B.W", "c d", [((14, 15), "b", "c", (15, 17), "d", 1, 2)]),
        ("?BFBW", "", [((14, 16), "b", "b", (18, 19), "b", 3, 4)]),
        ("FBW", "bcd", [((15, 16), "b", "c", (16, 17), "d", 1, 1)]),
        ("FW", "", []),  # flaky is no regression
        ("?W", "", []),
        ("BB", "c", [((14, 15), "b", "c", (16, None), "", 2, None)]),
        ("BWB", "cde", [((14, 15), "b", "c", (15, 16), "d", 1, 1), ((16, 17), "d", "e", (17, None), "", 1, None)]),
    ],
)
def test_a_failure_after_stable_is_a_regression(after: str, versions: str, regressions: list[object]) -> None:
    found = judged("B" + 14 * "W" + after, "a  b" + 11 * " " + versions)
    seen = [
        (
            between(one.began),
            one.last_good,
            one.first_bad,
            between(one.ended),
            one.restored_in,
            one.least_days,
            one.most_days,
        )
        for one in found.regressions
    ]
    assert seen == regressions
    assert found.stable.met


def test_a_failure_before_stable_is_none() -> None:
    assert judged("BWWBWWBWW").regressions == ()


def test_an_epoch_is_told_on_its_own_and_resets_nothing() -> None:
    found = judged("BBWWWWWWWWWWWWWWWW", "a   b      c", epochs="x       y")
    assert found.works.days(RELEASED) == (2, 2)
    assert found.stable.days(RELEASED) == (2, 2)
    assert [(one.id, (one.first - RELEASED).days, (one.last - RELEASED).days) for one in found.epochs] == [
        ("x", 0, 7),
        ("y", 8, 17),
    ]
    assert [between(one.works) for one in found.epochs] == [(1, 2), (None, 8)]
    assert [one.stable.met for one in found.epochs] == [False, False]


def test_days_are_counted_from_the_release() -> None:
    counts = judged("BB|BWw?.F", "a").counts
    assert (counts.works, counts.broken, counts.flaky, counts.unknown, counts.missing, counts.carried) == (
        2,
        1,
        1,
        1,
        1,
        1,
    )


def test_without_a_release_day_there_are_days_but_no_times() -> None:
    days = history("BBW..W")
    found = stabilization(days, released=None, through=days[-1].day)
    assert (between(found.works), found.lead, found.counts.missing) == ((1, 2), None, 2)


def test_days_that_come_later_are_not_looked_at_and_two_on_a_day_are_refused() -> None:
    days = history("BBW")
    assert stabilization(days, released=RELEASED, through=days[1].day).works.by is None
    with pytest.raises(ValueError, match="2026-04-03"):
        stabilization((*days, days[-1]), released=RELEASED, through=days[-1].day)


def test_a_release_between_two_days_gives_times_between_two() -> None:
    days = history("BBW|W")
    found = stabilization(days, released=RELEASED, created=RELEASED - timedelta(days=3), through=days[-1].day)
    assert found.works.days(RELEASED, found.created) == (0, 2)  # it works since the day before the last possible one
    assert found.lead == 0  # of which nobody knows that it came before
    seen = stabilization(
        history("BB|BBW"), released=RELEASED, created=RELEASED - timedelta(days=3), through=RELEASED + timedelta(days=9)
    )
    assert seen.works.days(RELEASED, seen.created) == (2, 5)


@pytest.mark.parametrize(
    ("verdicts", "rung", "told"),
    [
        ("PPPP", Rung.GENERATES, "works"),
        ("PFNN", Rung.GENERATES, "broken"),  # what was not reached is not supported
        ("PFNN", Rung.KNOWS, "broken"),
        ("PFNN", Rung.INSTALLS, "works"),
        ("PAPP", Rung.GENERATES, "works"),  # a rung that does not apply stands in nobody's way
        ("PPPA", Rung.GENERATES, "None"),
        ("PPUN", Rung.GENERATES, "unknown"),
        ("PLPP", Rung.GENERATES, "flaky"),
        ("PFUP", Rung.GENERATES, "broken"),
    ],
)
def test_the_time_to_a_rung_is_the_time_to_it_and_all_below(verdicts: str, rung: Rung, told: str) -> None:
    letters = {
        "P": Verdict.PASSED,
        "F": Verdict.FAILED,
        "L": Verdict.FLAKY,
        "U": Verdict.UNKNOWN,
        "A": Verdict.NOT_APPLICABLE,
        "N": Verdict.NOT_MEASURED,
    }
    by_rung = {step: letters[letter] for step, letter in zip(Rung, verdicts, strict=False)}
    assert str(up_to_rung(rung, by_rung, BAR)) == told


def test_a_rung_above_the_bar_waits_for_the_bar_alone() -> None:
    by_rung = {**dict.fromkeys(BAR, Verdict.PASSED), Rung.MATCHES: Verdict.FAILED, Rung.SERVES: Verdict.PASSED}
    assert up_to_rung(Rung.SERVES, by_rung, BAR) is CellVerdict.WORKS
    assert up_to_rung(Rung.MATCHES, by_rung, BAR) is CellVerdict.BROKEN


def test_a_rung_that_was_not_measured_is_missing_data() -> None:
    assert [str(of_rung(verdict)) for verdict in Verdict] == [
        "works",
        "broken",
        "flaky",
        "unknown",
        "unknown",
        "unknown",
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[Observation, ...]:
    """Return histories of spells, so that long runs of passing days happen."""
    spells = draw(st.lists(st.tuples(st.sampled_from("WWWWBF?.w"), st.integers(1, 20)), max_size=8))
    row = "".join(letter * length for letter, length in spells)
    changes = draw(st.sets(st.integers(0, max(0, len(row) - 1)), max_size=6))
    return history(
        "|".join((row[:cut], row[cut:])) if (cut := draw(st.integers(0, 9))) else row,
        "".join(chr(97 + sum(change <= at for change in changes)) for at in range(len(row))),
    )


def told(days: tuple[Observation, ...], window: int = 14) -> Stabilization:
    return stabilization(days, released=RELEASED, through=RELEASED + timedelta(days=200), window=window)


@given(histories())
def test_unknown_days_change_nothing(days: tuple[Observation, ...]) -> None:
    known = tuple(one for one in days if one.verdict is not CellVerdict.UNKNOWN)
    taken = {one.day for one in days}
    every = [RELEASED + timedelta(days=at) for at in range(-9, 200)]
    filled = [Observation(day, CellVerdict.UNKNOWN, "z", "z", "z") for day in every if day not in taken]
    counts = told(known).counts
    assert dataclasses.replace(told(days), counts=counts) == told(known)
    assert dataclasses.replace(told((*days, *filled)), counts=counts) == told(known)


@given(histories())
def test_stable_is_never_before_works(days: tuple[Observation, ...]) -> None:
    found = told(days)
    if found.stable.span.by:
        assert found.works.by
        assert found.works.by <= found.stable.span.by
    assert found.works.days(RELEASED)[0] <= found.stable.span.days(RELEASED)[0]


@given(histories(), st.integers(1, 60), st.integers(1, 60))
def test_a_larger_window_is_never_earlier(days: tuple[Observation, ...], one: int, other: int) -> None:
    small, large = (told(days, window).stable for window in sorted((one, other)))
    if large.span.by:
        assert small.span.by
        assert small.span.by <= large.span.by


@given(histories(), st.randoms())
def test_rejudging_is_idempotent(days: tuple[Observation, ...], random: Random) -> None:
    shuffled = list(days)
    random.shuffle(shuffled)
    assert told(tuple(shuffled)) == told(days) == told(days)


@given(histories(), st.integers(0, 150))
def test_what_was_once_stable_stays_so_as_days_go_by(days: tuple[Observation, ...], cut: int) -> None:
    through = RELEASED + timedelta(days=cut)
    before = stabilization(days, released=RELEASED, through=through)
    if before.stable.met and before.works.by and before.works.by >= RELEASED:
        assert told(days).stable == dataclasses.replace(before.stable, decided=told(days).stable.decided)
