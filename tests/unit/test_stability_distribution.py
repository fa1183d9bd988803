"""Distributions of intervals: worked out by hand, exact where everything is exact, and the same for the same seed."""

from __future__ import annotations

from math import inf

from monitor.stability.distribution import Entry, Mass, distribution, estimate, resamples


def entries(*intervals: tuple[float, float]) -> list[Entry]:
    return [Entry(f"a{place}", *interval) for place, interval in enumerate(intervals)]


def test_exact_days_give_the_empirical_distribution() -> None:
    found = estimate(entries((0, 0), (0, 0), (3, 3), (9, 9)))
    assert [(one.lower, one.upper, round(one.share, 4)) for one in found] == [(0, 0, 0.5), (3, 3, 0.25), (9, 9, 0.25)]


def test_right_censoring_moves_weight_beyond_and_not_to_the_end() -> None:
    # Kaplan and Meier by hand: S(2) = 3/4, then one of four leaves at 3, S(5) = 3/4 * 1/2
    found = distribution(entries((2, 2), (4, inf), (5, 5), (8, inf)), repeats=0)
    assert found is not None
    assert (found.right_censored, found.exact) == (2, 2)
    assert round(found.not_yet.value, 3) == 0.375
    assert found.median.value == 5
    assert found.upper_quartile.value == inf


def test_an_interval_counts_as_happened_only_at_its_end() -> None:
    found = distribution(entries((3, 9), (4, 9), (20, 20)), repeats=0)
    assert found is not None
    assert (found.interval_censored, found.median.value) == (2, 9)
    assert {one.lower: one.upper for one in found.masses} == {4: 9, 20: 20}
    assert [round(share.value, 3) for day, share in found.by_day if day in (7, 30)] == [0, 1]


def test_everything_censored_and_nothing_at_all() -> None:
    found = distribution(entries((5, inf), (9, inf)), repeats=10)
    assert found is not None
    assert found.masses == (Mass(9, inf, 1.0),)
    assert (found.median.value, found.not_yet.value) == (inf, 1)
    assert distribution([]) is None


def test_the_bootstrap_draws_whole_architectures() -> None:
    twins = [Entry("a", 1, 1), Entry("a", 1, 1), Entry("b", 5, 5)]
    for sample in resamples(twins, seed=3, repeats=20):
        assert sum(one.architecture == "a" for one in sample) % 2 == 0
    # two architectures agree by chance half the time, so their interval spans both
    found = distribution(twins, repeats=50)
    assert found is not None
    assert (found.median.low, found.median.high) == (1, 5)
    assert found.architectures == 2


def test_the_same_seed_gives_the_same_answer_whatever_the_order() -> None:
    some = entries(*((float(day % 7), float(day % 7 + day % 3)) for day in range(12)))
    assert distribution(some, seed=1, repeats=20) == distribution(some[::-1], seed=1, repeats=20)


def test_never_is_not_measurable_where_the_sample_was_drawn_from_what_is_supported() -> None:
    found = distribution([Entry("a", 1, 1, registry_derived=True)], repeats=0)
    assert found is not None
    assert not found.never_is_measurable
