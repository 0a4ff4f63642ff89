"""Figures that were had several times, with other seeds."""

from math import sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from profilegym.evaluation.intervals import Interval, Sums, bootstrap, over_seeds

STUDENT = {2: 4.303, 4: 2.776}  # 95 % of t, by degrees of freedom


def of(means: list[list[float]]) -> Interval:
    """Of one value for each seed and user."""
    sums = np.array([[[value, 1.0] for value in seed] for seed in means])
    return over_seeds(sums, _mean, sums[..., 1].size)


def _mean(totals: Sums) -> Sums:
    means: Sums = totals[:, 0] / totals[:, 1]
    return means


@pytest.mark.parametrize("seeds", [[0.2, 0.5, 0.4], [0.1, 0.3, 0.2, 0.5, 0.4]])
def test_seeds_that_differ_widen_an_interval_by_students_t(seeds: list[float]) -> None:
    found = of([[seed] * 8 for seed in seeds])  # people who are all alike

    middle, reach = fmean(seeds), STUDENT[len(seeds) - 1] * stdev(seeds) / sqrt(len(seeds))
    assert found.mean == pytest.approx(middle)
    assert (found.low, found.high) == pytest.approx((middle - reach, middle + reach), abs=0.05 * reach)
    assert found.n == 8 * len(seeds)


def test_seeds_that_agree_leave_only_what_people_differ_by() -> None:
    people = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]

    thrice, once = of([people] * 3), of([people])

    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert once == bootstrap(np.array([[value, 1.0] for value in people]), _mean, 6)


def test_nothing_measured_is_no_figure() -> None:
    nothing, nothing_at_one_seed = np.zeros((0, 0, 2)), np.array([[[1.0, 2.0]], [[0.0, 0.0]]])

    assert over_seeds(nothing, _mean, 0) == Interval(None, None, None, 0)
    assert over_seeds(nothing_at_one_seed, _mean, 2) == Interval(None, None, None, 2)
