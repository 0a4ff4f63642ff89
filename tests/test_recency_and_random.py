"""The two controls that ignore what is asked."""

import subprocess
import sys

import pytest
from matching import naming

from profilegym import Document, Profile, make_retriever
from profilegym.envs.retrieval.random import Random
from profilegym.envs.retrieval.recency import Recency
from profilegym.errors import OptionError


def profile(*dates: str | None, user: str = "ann") -> Profile:
    return Profile(user, tuple(Document(str(place), f"text {place}", date) for place, date in enumerate(dates)))


def test_recency_puts_the_latest_date_first() -> None:
    hits = Recency().search(profile("2024-03-01", "2025-01-09T08:00", "2023-12-31"), "tea", 2)

    assert [hit.document.id for hit in hits] == ["1", "0"]
    assert [hit.score for hit in hits] == [1, 0.5]


def test_recency_takes_the_later_of_two_equal_dates_first() -> None:
    hits = Recency().search(profile("2024-03-01", "2024-03-01", "2024-02-01"), "tea", 3)

    assert [hit.document.id for hit in hits] == ["1", "0", "2"]


def test_recency_compares_moments_where_dates_have_zones() -> None:
    dates = "2024-03-01T23:00:00-08:00", "2024-03-02T01:00:00+09:00", "2024-03-02T06:59:59Z", "2024-03-02T06:00"

    hits = Recency().search(profile(*dates), "tea", 4)

    assert [hit.document.id for hit in hits] == ["0", "2", "3", "1"]


def test_recency_takes_a_date_that_is_none_as_a_text() -> None:
    hits = Recency().search(profile("2024-03-01 10:00 - late", "2025-01-01"), "tea", 2)

    assert [hit.document.id for hit in hits] == ["1", "0"]


def test_recency_trusts_the_order_of_the_profile_where_a_date_is_missing() -> None:
    hits = Recency().search(profile("2025-01-01", None, "2020-01-01"), "tea", 3)

    assert [hit.document.id for hit in hits] == ["2", "1", "0"]


def test_random_finds_every_document_once_best_first() -> None:
    hits = Random().search(profile(*[None] * 50), "tea", 100)

    assert {hit.document.id for hit in hits} == {str(place) for place in range(50)}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_random_asked_for_fewer_gives_the_first_of_the_same_order() -> None:
    retriever = make_retriever("random")

    assert retriever.search(profile(*[None] * 50), "tea", 3) == retriever.search(profile(*[None] * 50), "tea", 50)[:3]


def test_random_depends_on_seed_owner_and_query() -> None:
    here = profile(*[None] * 50)

    orders = {
        tuple(hit.document.id for hit in Random(seed).search(asked, query, 50))
        for seed, asked, query in [
            (0, here, "tea"),
            (1, here, "tea"),
            (0, here, "ale"),
            (0, profile(*[None] * 50, user="bo"), "tea"),
        ]
    }

    assert len(orders) == 4


@pytest.mark.slow
def test_random_is_the_same_in_every_process() -> None:
    script = (
        "from profilegym import Document, Profile, make_retriever\n"
        "p = Profile('ann', tuple(Document(str(i), f'text {i}') for i in range(20)))\n"
        "print([h.document.id for h in make_retriever('random:seed=3').search(p, 'tea', 5)])"
    )

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == str([hit.document.id for hit in Random(3).search(profile(*[None] * 20), "tea", 5)])


@pytest.mark.parametrize("spec", ["random", "recency"])
def test_an_empty_query_or_profile_finds_nothing_and_k_must_be_positive(spec: str) -> None:
    retriever = make_retriever(spec)

    assert retriever.search_many([(profile(None), " "), (profile(), "tea")], 3) == [[], []]
    with pytest.raises(OptionError, match=naming("k", 0)):
        retriever.search(profile(None), "tea", 0)
