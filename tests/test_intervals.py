"""Figures with their intervals: of few people and many, of shares, and had several times with other seeds."""

from math import sqrt
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profilegym.evaluation.intervals import (
    FEW,
    LEAST,
    Interval,
    Sums,
    bootstrap,
    half,
    mean,
    over_seeds,
    ratio,
    reach,
    share,
    spread,
)

STUDENT = {2: 4.303, 4: 2.776}  # 95 % of t, by degrees of freedom


def of(means: list[list[float]]) -> Interval:
    """Of one value for each seed and user."""
    sums = np.array([[[value, 1.0] for value in seed] for seed in means])
    return over_seeds(sums, ratio, sums[..., 1].size)


def by_user(values: list[list[float]]) -> dict[str, list[float]]:
    return {str(user): own for user, own in enumerate(values)}


def ends(found: Interval) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


@pytest.mark.parametrize("seeds", [[0.2, 0.5, 0.4], [0.1, 0.3, 0.2, 0.5, 0.4]])
def test_seeds_that_differ_widen_an_interval_by_students_t(seeds: list[float]) -> None:
    found = of([[seed] * 8 for seed in seeds])  # people who are all alike

    middle, wide = fmean(seeds), STUDENT[len(seeds) - 1] * stdev(seeds) / sqrt(len(seeds))
    assert found.mean == pytest.approx(middle)
    assert ends(found) == pytest.approx((middle - wide, middle + wide), abs=0.05 * wide)
    assert (found.n, found.people) == (8 * len(seeds), 8)


def test_seeds_that_agree_leave_only_what_people_differ_by() -> None:
    people = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]

    thrice, once = of([people] * 3), of([people])

    assert ends(thrice) == pytest.approx(ends(once))
    assert once == bootstrap(np.array([[value, 1.0] for value in people]), ratio, 6)


def test_nothing_measured_is_no_figure() -> None:
    nothing, nothing_at_one_seed = np.zeros((0, 0, 2)), np.array([[[1.0, 2.0]], [[0.0, 0.0]]])

    assert over_seeds(nothing, ratio, 0) == Interval(None, None, None, 0, 0)
    assert over_seeds(nothing_at_one_seed, ratio, 2) == Interval(None, None, None, 2, 1)


@pytest.mark.parametrize("values", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("fraction", [True, False])
def test_fewer_than_five_people_have_a_mean_and_no_interval(values: float, fraction: bool) -> None:
    found = mean(by_user([[values] * 9, [values], [values], [0.25]]), fraction)

    assert found.mean is not None
    assert (found.low, found.high, found.n, found.people) == (None, None, 12, 4)
    assert spread(found) == f"{found.mean:.3f} [no interval; 4 people]"
    assert half(found, 2) == "(4)"


def test_all_of_twenty_people_does_not_mean_always_nor_none_never() -> None:
    """Wilson's interval: its ends are in the tables."""
    assert ends(mean(by_user([[1.0]] * 20), fraction=True)) == pytest.approx((1 - 0.1611, 1.0), abs=1e-4)
    assert ends(mean(by_user([[0.0]] * 20), fraction=True)) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_more_answers_of_the_same_people_do_not_narrow_a_share_at_its_end() -> None:
    once, often = (mean(by_user([[1.0] * count] * 12), fraction=True) for count in (1, 50))

    assert ends(often) == ends(once)
    assert (once.n, often.n) == (12, 600)


def test_a_share_is_as_wide_as_if_each_person_were_one_answer_where_people_answer_all_alike() -> None:
    apart = mean(by_user([[1.0] * 5] * 6 + [[0.0] * 5] * 6), fraction=True)
    within = mean(by_user([[1.0, 0.0, 1.0, 0.0, 1.0]] * 6 + [[0.0, 1.0, 0.0, 1.0, 0.0]] * 6), fraction=True)
    independent = mean(by_user([[1.0]] * 30 + [[0.0]] * 30), fraction=True)

    assert apart.mean == within.mean == independent.mean == 0.5
    assert ends(apart)[1] - ends(apart)[0] > 2 * (ends(independent)[1] - ends(independent)[0])
    assert ends(within)[1] - ends(within)[0] >= ends(independent)[1] - ends(independent)[0]


def test_a_count_that_is_one_for_all_is_no_share() -> None:
    assert ends(mean(by_user([[1.0]] * 20))) == (1.0, 1.0)


def test_nine_perfect_people_and_one_that_is_not_have_an_interval_within_0_and_1() -> None:
    """Most draws of so few people hold nobody who differs: bootstrap-t has nothing to divide by there."""
    low, high = ends(mean(by_user([[1.0]] * 9 + [[0.75]]), fraction=True))
    differences = ends(mean(by_user([[0.0]] * 9 + [[-0.25]])))

    assert 0.8 < low < 0.95
    assert 0.99 < high <= 1.0
    assert differences == pytest.approx((-0.025 - 2.262 * 0.025, -0.025 + 2.262 * 0.025), abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=6), min_size=LEAST, max_size=60))
def test_a_fractions_interval_holds_its_mean_and_stays_within_0_and_1(values: list[list[float]]) -> None:
    found = mean(by_user(values), fraction=True)

    low, high = ends(found)
    assert 0 <= low <= (found.mean or 0) + 1e-9
    assert (found.mean or 0) - 1e-9 <= high <= 1
    assert found == mean(by_user(values), fraction=True)
    assert found.people == len(values)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3).map(float), min_size=LEAST, max_size=FEW + 5), st.integers(-9, 9))
def test_an_interval_moves_with_its_figure(values: list[float], by: int) -> None:
    found, moved = (mean(by_user([[value + shift] for value in values])) for shift in (0, by))

    assert ends(moved) == pytest.approx([end + by for end in ends(found)])


@pytest.mark.parametrize("people", [5, 10, 18, 30, 60])
@pytest.mark.parametrize("kind", ["normal", "share"])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(kind: str, people: int) -> None:
    """Of people with unequal numbers of questions; the table of docs/evaluation.md has more of them."""
    random = np.random.default_rng(people)

    def holds() -> bool:
        counts = random.integers(1, 7, people)
        if kind == "normal":
            levels = random.normal(size=people)
            found = mean(by_user([random.normal(a, 1, n).tolist() for a, n in zip(levels, counts, strict=True)]))
            return ends(found)[0] <= 0 <= ends(found)[1]
        chances = random.beta(2, 2, people)
        given = [random.binomial(1, a, n).astype(float).tolist() for a, n in zip(chances, counts, strict=True)]
        found = mean(by_user(given), fraction=True)
        return ends(found)[0] <= 0.5 <= ends(found)[1]

    assert sum(holds() for _ in range(300)) / 300 >= 0.93 - 2 * sqrt(0.93 * 0.07 / 300)


def test_any_figure_of_few_people_is_wider_than_its_percentiles() -> None:
    """The percentile bootstrap covered 0.88 over ten people where 0.95 was said."""
    values = [0.1, 0.9, 0.3, 0.4, 0.8, 0.2, 0.5, 0.7, 0.6, 0.35]
    sums = np.array([[value, 1.0] for value in values])
    draws = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), 2_000) @ sums / 10

    def root_mean_square(totals: Sums) -> Sums:
        found: Sums = np.sqrt(totals[:, 0] / totals[:, 1])
        return found

    low, high = np.percentile(draws[:, 0], (2.5, 97.5))
    assert ends(bootstrap(sums, ratio, 10))[0] < low
    assert ends(bootstrap(sums, ratio, 10))[1] > high
    assert ends(bootstrap(sums, root_mean_square, 10))[1] > sqrt(high)


def test_a_figure_that_hangs_on_one_person_has_no_interval() -> None:
    """Without that person there is nothing to divide by, so nothing tells how it differs between people."""
    sums = np.array([[1.0, 3.0], *[[0.0, 0.0]] * 7])

    assert bootstrap(sums, ratio, 3) == Interval(pytest.approx(1 / 3), None, None, 3, 8)  # type: ignore[arg-type]


def test_an_interval_is_told_with_its_people_where_they_are_known() -> None:
    known, old = Interval(0.5, 0.25, 0.75, 90, 30), Interval(mean=0.5, low=0.25, high=0.75, n=90)

    assert spread(known) == "0.500 [0.250, 0.750; 30 people]"
    assert reach(known, 0, 100, unit="") == "[25, 75; 30]"
    assert (half(known, 2), half(known, 2, told=30)) == ("±0.25 (30)", "±0.25")
    assert (half(Interval(1, 0.6, 1, 9, 9), 1), half(Interval(0, 0, 0.4, 9, 9), 1)) == ("≥0.6 (9)", "≤0.4 (9)")
    assert (spread(old), half(old, 2)) == ("0.500 [0.250, 0.750]", "±0.25")
    assert spread(None) == spread(Interval(None, None, None, 0, 0)) == "–"


def test_a_share_counts_from_sums() -> None:
    assert share(np.array([[1.0, 2.0], [2.0, 2.0]] * 5)) == mean(by_user([[1.0, 0.0], [1.0, 1.0]] * 5), fraction=True)
