"""Agreement and its intervals, against values computed by hand."""

import numpy as np
import pytest

from profilegym import AspectMatch, Verdict
from profilegym.evaluation.intervals import Interval, mean
from profilegym.evaluation.judge_audit.agreement import agreement


def verdict(*matches: int) -> Verdict:
    return Verdict("judge", sum(matches) / (2 * len(matches)), tuple(AspectMatch("a", match) for match in matches))


def test_agreement_counts_aspects_and_weighs_a_step_of_two_four_times_one_of_one() -> None:
    pairs = [
        ("u1", verdict(0, 1), verdict(0, 2)),
        ("u2", verdict(2, 2), verdict(2, 2)),
        ("u3", verdict(1, 0), verdict(1, 1)),
    ]

    found = agreement(pairs)

    assert found.confusion == ((1, 1, 0), (0, 1, 1), (0, 0, 2))
    assert (found.same.mean, found.same.n) == (4 / 6, 6)
    assert found.kappa.mean == pytest.approx(1 - 2 / 8)  # 2 found; by chance 14/3 + 4/3 + 2
    assert found.shift.mean == pytest.approx((0.25 + 0 + 0.25) / 3)


def test_kappa_is_unknown_where_there_is_nothing_to_tell_apart() -> None:
    found = agreement([("u1", verdict(2), verdict(2))])

    assert found.same.mean == 1.0
    assert found.kappa == Interval(None, None, None, 1, people=1)
    assert agreement([]).same == Interval(None, None, None, 0, people=0)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)

    def holds() -> bool:
        people = {str(user): [float(random.normal() + level)] * 3 for user, level in enumerate(random.normal(size=30))}
        found = mean(people)
        assert found.low is not None
        assert found.high is not None
        return found.low <= 0 <= found.high

    assert 0.88 <= sum(holds() for _ in range(200)) / 200 <= 0.99
