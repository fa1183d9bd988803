"""Turnbull's estimate, read by day; its intervals; and what it refuses to say."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from monitor.report.format import quantile_text, share_text
from monitor.report.summary import Group
from monitor.site.support_curve import support_curve
from monitor.stability.distribution import Support, distribution, estimate, independent, support
from monitor.stability.limits import limits
from monitor.stability.values import TimeToSupport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def entries(*times: tuple[int, int | None]) -> list[TimeToSupport]:
    return [TimeToSupport(f"architecture {at}", first, last) for at, (first, last) in enumerate(times)]


def exact(*days: int) -> list[TimeToSupport]:
    return entries(*((day, day) for day in days))


def masses(*possible: tuple[int, int | None]) -> dict[tuple[float, float], float]:
    cells = support(possible)
    found = estimate(cells)
    return {(a, b): round(float(p), 3) for a, b, p in zip(cells.first, cells.last, found, strict=True) if p > 1e-4}


def oracle(possible: Sequence[tuple[int, int | None]], cells: Support) -> NDArray[np.float64]:
    """Return the masses that lifelines finds; its intervals are closed and must be longer than a point."""
    lows = np.array([first for first, _ in possible]) - 0.25
    highs = np.array([np.inf if last is None else last for _, last in possible]) + 0.25
    befores, afters = cells.first - 0.5, cells.last + 0.5
    timeline = np.unique([*befores, *afters[np.isfinite(afters)]])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it has not converged
        from lifelines import KaplanMeierFitter

        fitted = KaplanMeierFitter().fit_interval_censoring(lows, highs, timeline=timeline, max_iter=2000)
    survival = dict(zip(timeline, fitted.survival_function_.to_numpy()[:, 0], strict=True)) | {np.inf: 0.0}
    return np.array([survival[before] - survival[after] for before, after in zip(befores, afters, strict=True)])


def test_the_estimate_is_kaplan_meiers_where_every_time_is_exact_or_not_seen_yet() -> None:
    # at risk 5, 4, 2: 1 - 4/5, then 4/5 * 3/4, then 3/5 * 1/2
    assert masses((1, 1), (4, 4), (5, None), (7, 7), (8, None)) == {
        (1, 1): 0.2,
        (4, 4): 0.2,
        (7, 7): 0.3,
        (8, np.inf): 0.3,
    }


def test_the_estimate_is_turnbulls_where_times_overlap() -> None:
    # the likelihood a * (a + b) * b * (b + c) * c has its maximum at a = c, by symmetry, and b = 1 - 2a
    found = masses((0, 0), (0, 5), (5, 5), (5, 9), (9, 9))
    low, middle, high = found[0, 0], found[5, 5], found[9, 9]
    assert low == high
    best = max((a * a * (1 - 2 * a) * (1 - a) ** 2, a) for a in np.linspace(0.01, 0.49, 4801))[1]
    assert low == pytest.approx(best, abs=1e-3)
    assert middle == pytest.approx(1 - 2 * best, abs=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_estimate_is_that_of_lifelines_where_one_is_given(seed: int) -> None:
    """The oracle stops where the likelihood no longer grows much, which may be some hundredths from the estimate."""
    generator = np.random.default_rng(seed)
    firsts = generator.integers(0, 40, 60)
    possible = [
        (int(first), None if generator.random() < 0.2 else int(first + generator.integers(0, 9))) for first in firsts
    ]
    cells = support(possible)
    assert np.abs(estimate(cells) - oracle(possible, cells)).max() < 0.03


def test_a_median_is_the_first_day_by_which_half_are_supported() -> None:
    found = distribution(exact(0, 0, 3, 9, 20))
    assert (found.lower_quartile.day, found.median.day, found.upper_quartile.day) == (0, 3, 9)
    assert [(fall.day, fall.share) for fall in found.curve] == [(0, 0.6), (3, 0.4), (9, 0.2), (20, 0.0)]
    assert found.never is not None
    assert (found.never.day, found.never.share) == (20, 0.0)
    assert (found.entries, found.exact, found.not_seen) == (5, 5, 0)


def test_a_cell_that_cannot_be_told_apart_is_spread_over_its_days() -> None:
    found = distribution(entries((1, 4), (1, 4)))
    assert [(fall.day, fall.share) for fall in found.curve] == [(0, 1), (1, 0.75), (2, 0.5), (3, 0.25), (4, 0.0)]
    assert found.median.day == 2


def test_what_is_known_only_roughly_is_told_by_its_bounds() -> None:
    found = distribution([*exact(2, 2, 3), *entries((20, 60), (20, 60))])
    assert (found.median.day, found.median.precise, found.late) == (3, True, 2)
    assert (found.upper_quartile.earliest, found.upper_quartile.latest) == (20, 60)
    assert quantile_text(found.upper_quartile) == "between 20 and 60"
    (by_day_30,) = [share for share in found.not_by if share.day == 30]
    assert (by_day_30.least, by_day_30.most, by_day_30.precise) == (0.0, 0.4, False)
    assert share_text(by_day_30).startswith("between ")


def test_where_most_was_there_when_it_was_first_looked_at_nothing_is_told() -> None:
    begun_late = entries(*((0, late) for late in (300, 400, 500)), (290, None), (290, None))
    found = distribution(begun_late)  # whose estimate would be that nobody was there by day 289, for certain
    assert (found.late, found.curve, found.not_by, found.never) == (3, (), (), None)
    assert quantile_text(found.median) == "not shown"


def test_a_curve_is_drawn_only_where_it_is_told() -> None:
    never = distribution(entries(*((200, None),) * 6))
    begun_late = distribution(entries(*((0, late) for late in (200, 300, 400, 500))))
    known = distribution(exact(0, 3, 3, 9, 20, 40))
    rough = distribution([*exact(2, 2, 3), *entries((20, 60), (20, 60))])
    assert {share.precise for share in rough.curve} == {True, False}
    assert support_curve(Group("late", begun_late, None), "late", seed="late") == ""
    assert support_curve(Group("known", known, never), "known", seed="known").startswith("<svg")
    assert "nan" not in support_curve(Group("rough", rough, never), "rough", seed="rough")


def test_what_is_not_reached_or_not_followed_is_not_told() -> None:
    found = distribution(entries((2, 2), (11, None), (41, None), (61, None), (61, None)))
    assert (found.median.day, found.median.high) == (None, None)
    assert found.never is not None
    assert (found.never.day, found.never.share) == (60, 0.8)
    many = distribution(entries(*((2, 2),) * 2, *((61, None),) * 38))
    assert quantile_text(many.median) == "not reached (61 to not reached)"
    assert [share.day for share in found.not_by] == [30]  # nobody was followed for 90 days
    nobody = distribution(entries((0, None)))
    assert (nobody.median.day, nobody.never, nobody.not_by) == (None, None, ())


def test_where_cells_come_from_the_registry_never_is_not_measurable() -> None:
    derived = [TimeToSupport("gemma4", 0, 0, registry_derived=True), TimeToSupport("olmo3", 3, 3)]
    found = distribution(derived)
    assert (found.never, found.registry_derived) == (None, 1)


def test_where_many_are_seen_too_thinly_nothing_is_told() -> None:
    passing = [TimeToSupport(f"passing {at}", 3, None, undecided=True) for at in range(2)]
    broken = [TimeToSupport(f"broken {at}", 90, None) for at in range(18)]
    told = distribution([*passing, *broken])
    assert told.never is not None
    assert (told.undecided, told.never.share) == (2, 1.0)
    thin = distribution([*passing, *broken[:-1]])
    assert (thin.median.day, thin.median.high, thin.never, thin.not_by, thin.curve) == (None, None, None, (), ())


def test_the_interval_holds_the_estimate_and_hangs_on_the_entries_alone() -> None:
    generator = np.random.default_rng(4)
    times = exact(*(int(day) for day in generator.integers(0, 60, 40)))
    found = distribution(times)
    assert found.median.low is not None
    assert found.median.day is not None
    assert found.median.high is not None
    assert found.median.low <= found.median.day <= found.median.high
    assert distribution(times[::-1]) == found


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    # of 40 exact times the 14th and the 27th hold the median: P(14 <= Binomial(40, 1/2) <= 26) = 96.2%
    found = distribution(exact(*range(1, 41)))
    assert (found.median.low, found.median.day, found.median.high) == (14, 20, 27)


@pytest.mark.parametrize("size", [5, 8, 16, 40, 100])
def test_no_interval_is_of_width_zero(size: int) -> None:
    """Nor does one read so: all at once is known to no more than as many architectures show."""
    at_once = distribution(exact(*[0] * size), horizons=(0, 7))
    assert (at_once.median.day, at_once.median.low) == (0, 0)
    assert at_once.median.high is None or at_once.median.high > 0
    never = distribution(entries(*[(100, None)] * size), horizons=(0, 7))
    for share in (*at_once.not_by, *never.not_by):
        assert share.low is not None
        assert share.high is not None
        assert share.high - share.low > 1 / (2 * size)
        low, high = share_text(share).split(" (")[1].removesuffix(")").split(" to ")
        assert low != high


@pytest.mark.parametrize("many", [True, False])
def test_a_share_that_reads_as_none_shows_how_many_it_may_be(many: bool) -> None:
    found = distribution(exact(*[0] * (5000 if many else 20)), horizons=(7,))
    assert share_text(found.not_by[0]) == ("0.0% (0.0% to 0.1%)" if many else "0% (0% to 17%)")


@pytest.mark.parametrize(("events", "count"), [(0, 5), (5, 5), (1, 8), (4, 16), (20, 40), (99, 100)])
def test_limits_are_those_of_clopper_and_pearson(events: int, count: int) -> None:
    """At the lower limit as many events or more have a chance of 2.5 percent, at the upper one as many or fewer."""

    def chance(numbers: range, share: float) -> float:
        return sum(math.comb(count, at) * share**at * (1 - share) ** (count - at) for at in numbers)

    (low,), (high,) = limits(np.array([events / count]), np.array([float(count)]))
    assert (chance(range(events, count + 1), low) if events else low) == pytest.approx(0.025 if events else 0, abs=1e-6)
    assert (chance(range(events + 1), high) if events < count else high) == pytest.approx(
        0.025 if events < count else 1, abs=1e-6
    )


def test_limits_of_a_count_that_is_not_whole_lie_between_those_of_its_neighbours() -> None:
    low, high = limits(np.full(3, 0.4), np.array([12.0, 12.7, 13.0]))
    assert list(low) == sorted(low)
    assert list(high) == sorted(high, reverse=True)


def test_models_of_one_architecture_count_as_one() -> None:
    apart = [TimeToSupport(f"{at}", day, day) for at, day in enumerate([1, 2, 3, 4, 5, 40, 50, 60, 70, 80] * 4)]
    alike = [TimeToSupport(f"{at % 10}", day, day) for at, day in enumerate([1, 2, 3, 4, 5, 40, 50, 60, 70, 80] * 4)]
    wide, narrow = (distribution(times).not_by[0] for times in (alike, apart))
    assert wide.share == narrow.share == 0.5
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low - 0.05
    few = distribution([TimeToSupport("one", day, day) for day in range(20)])
    assert (few.architectures, few.median.low, few.median.high, few.not_by[0].low) == (1, None, None, None)


def test_who_left_early_counts_for_no_later_day() -> None:
    times = [*entries(*((day, day) for day in range(10))), *(TimeToSupport(f"left {at}", 5, None) for at in range(10))]
    assert list(independent(times, 10)[[4, 9]]) == [20.0, 10.0]


def test_nothing_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        distribution([])
