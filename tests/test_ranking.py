"""Measures of a ranked list, worked out by hand."""

from math import log2

import pytest

from profilegym.rewards.ranking import ndcg, precision, recall, reciprocal_rank

RANKED = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(("k", "expected"), [(1, 0), (2, 1 / 3), (4, 2 / 3), (99, 2 / 3)])
def test_recall_is_the_share_that_is_among_the_first_k(k: int, expected: float) -> None:
    assert recall(RANKED, {"b", "d", "z"}, k) == expected


@pytest.mark.parametrize(("k", "expected"), [(1, 0), (2, 1 / 2), (4, 2 / 4), (99, 2 / 5)])
def test_precision_is_the_share_of_the_first_k_that_is_relevant(k: int, expected: float) -> None:
    assert precision(RANKED, {"b", "d", "z"}, k) == expected


def test_ndcg_discounts_by_the_logarithm_of_the_rank_and_is_relative_to_the_best_order() -> None:
    best = 1 / log2(2) + 1 / log2(3) + 1 / log2(4)

    assert ndcg(RANKED, {"b", "d", "z"}, 5) == pytest.approx((1 / log2(3) + 1 / log2(5)) / best)
    assert ndcg(RANKED, {"b", "d", "z"}, 2) == pytest.approx((1 / log2(3)) / (1 / log2(2) + 1 / log2(3)))
    assert ndcg(RANKED, {"a", "b"}, 5) == pytest.approx(1)


def test_the_reciprocal_rank_is_that_of_the_first_relevant_document() -> None:
    assert reciprocal_rank(RANKED, {"c", "e"}) == pytest.approx(1 / 3)


def test_what_finds_nothing_scores_nothing() -> None:
    assert [recall([], {"a"}, 5), precision([], {"a"}, 5), ndcg(RANKED, {"z"}, 5), reciprocal_rank(RANKED, {"z"})] == [
        0,
        0,
        0,
        0,
    ]
