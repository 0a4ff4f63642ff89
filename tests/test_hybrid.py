"""Reciprocal rank fusion, worked out by hand."""

import pytest
from matching import naming

from profilegym import Document, Hit, Profile, make_retriever
from profilegym.envs.retrieval.hybrid import Hybrid
from profilegym.envs.retrieval.retriever import BaseRetriever
from profilegym.errors import OptionError, UnknownName

PROFILE = Profile("ann", tuple(Document(letter, letter) for letter in "abcdef"))


class Ranking(BaseRetriever):
    """Finds the documents of a given list, in its order."""

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.asked: list[int] = []

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        self.asked.append(k)
        found = self.letters if query.strip() else ""
        return [Hit(profile.by_id[letter], 9 - rank) for rank, letter in enumerate(found[:k])]


def letters(hits: list[Hit]) -> str:
    return "".join(hit.document.id for hit in hits)


def test_a_document_scores_the_sum_of_its_reciprocal_ranks() -> None:
    hits = Hybrid([Ranking("cab"), Ranking("ad")]).search(PROFILE, "tea", 6)

    assert letters(hits) == "acdb"
    assert [hit.score for hit in hits] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])


def test_a_smaller_constant_favours_the_first_place_over_agreement() -> None:
    parts = [Ranking("cab"), Ranking("dab")]

    assert letters(Hybrid(parts).search(PROFILE, "tea", 1)) == "a"
    assert letters(Hybrid(parts, constant=0).search(PROFILE, "tea", 3)) == "acd"


@pytest.mark.parametrize("weights", ["3+1", (3, 1)])
def test_a_part_counts_by_its_weight(weights: str | tuple[float, ...]) -> None:
    parts = [Ranking("cab"), Ranking("da")]

    hits = Hybrid(parts, weights=weights).search(PROFILE, "tea", 6)

    assert letters(hits) == "acbd"
    assert [hit.score for hit in hits] == pytest.approx([3 / 62 + 1 / 62, 3 / 61, 3 / 63, 1 / 61])
    assert Hybrid(parts, weights="1+1").search(PROFILE, "tea", 6) == Hybrid(parts).search(PROFILE, "tea", 6)


def test_ties_come_in_the_order_of_ids_whatever_the_order_of_the_parts_and_of_the_profile() -> None:
    one, other = Ranking("fb"), Ranking("bf")
    backwards = Profile("ann", PROFILE.documents[::-1])

    assert letters(Hybrid([one, other]).search(backwards, "tea", 2)) == "bf"

    assert letters(Hybrid([one, other]).search(PROFILE, "tea", 2)) == "bf"
    assert letters(Hybrid([other, one]).search(PROFILE, "tea", 2)) == "bf"


def test_three_parts_can_be_fused() -> None:
    hits = Hybrid([Ranking("ab"), Ranking("b"), Ranking("cb")]).search(PROFILE, "tea", 3)

    assert letters(hits) == "bac"


def test_a_list_counts_as_far_down_as_depth_however_few_are_asked_for() -> None:
    part = Ranking("abcdef")

    few = Hybrid([part, Ranking("fd")]).search(PROFILE, "tea", 2)
    shallow = Hybrid([part, Ranking("fd")], depth=2).search(PROFILE, "tea", 2)

    assert (letters(few), letters(shallow)) == ("df", "af")
    assert part.asked == [100, 2]


def test_a_batch_asks_each_part_once_and_equals_single_searches() -> None:
    hybrid = make_retriever("hybrid:bm25+recency")
    requests = [(PROFILE, "a b"), (Profile("bo", ()), "a"), (PROFILE, ""), (PROFILE, "f")]

    batch = hybrid.search_many(requests, 3)

    assert batch == [hybrid.search(profile, query, 3) for profile, query in requests]
    assert [letters(hits) for hits in batch[1:3]] == ["", ""]


@pytest.mark.parametrize(
    ("spec", "error", "named"),
    [
        ("hybrid:bm25", OptionError, ["hybrid:bm25+dense", "'bm25'"]),
        ("hybrid:bm25+nosuch", UnknownName, ["'nosuch'", "bm25"]),
        ("hybrid:bm25+recency,constant=-1", OptionError, ["constant", -1]),
        ("hybrid:bm25+recency,depth=0", OptionError, ["depth=0"]),
        ("hybrid:bm25+recency,weights=2", OptionError, ["weights=2", "2 parts"]),
        ("hybrid:bm25+recency,weights=1+1+1", OptionError, ["weights=1+1+1", "2 parts"]),
        ("hybrid:bm25+recency,weights=1+0", OptionError, ["weights=1+0"]),
        ("hybrid:bm25+recency,weights=1+nan", OptionError, ["weights=1+nan"]),
        ("hybrid:bm25+recency,weights=much+little", OptionError, ["weights=much+little"]),
    ],
)
def test_a_spec_that_cannot_work_is_named(spec: str, error: type[Exception], named: list[object]) -> None:
    with pytest.raises(error, match=naming(*named)):
        make_retriever(spec)
