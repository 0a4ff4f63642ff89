"""BM25 against golden rankings that the real Lucene made, and its contract."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matching import naming

from profilegym.envs.question import Document, Profile
from profilegym.envs.retrieval import Hit, make_retriever
from profilegym.envs.retrieval.bm25 import BM25, postings
from profilegym.envs.retrieval.postings import Index, Postings
from profilegym.errors import OptionError

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data/rankings.json").read_text("utf-8"))


def profile(*texts: str, user: str = "u") -> Profile:
    return Profile(user, tuple(Document(str(number), text) for number, text in enumerate(texts)))


def ids(hits: list[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


@pytest.mark.parametrize("golden", GOLDEN, ids=["natural text", "many ties"])
def test_rankings_are_those_that_lucene_made(golden: dict[str, Any]) -> None:
    who, bm25 = profile(*golden["documents"]), BM25()

    found = [[int(name) for name in ids(bm25.search(who, query, 10))] for query in golden["queries"]]

    assert len(found) == 100
    assert found == golden["found"]


def test_a_score_is_the_formula_worked_out_by_hand() -> None:
    who = profile("red boat", "red red sea sand", "wind")

    (hit,) = BM25().search(who, "boats", 5)

    idf, norm = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5)), 0.9 * (1 - 0.4 + 0.4 * 2 / (7 / 3))
    assert hit.document.id == "0"
    assert hit.score == pytest.approx(idf * 1 / (1 + norm), rel=1e-6)


def test_a_word_asked_twice_counts_twice() -> None:
    who = profile("red boat", "red sea", "blue sea")

    once, twice = BM25().search(who, "boat", 5), BM25().search(who, "boat boat", 5)

    assert twice[0].score == pytest.approx(2 * once[0].score)


def test_hits_are_documents_of_the_profile_that_asked_even_when_its_twin_was_indexed() -> None:
    first, second = profile("red boat", "sea"), profile("red boat", "sea")
    bm25 = BM25()
    bm25.search(first, "boat", 1)

    (hit,) = bm25.search(second, "boat", 1)

    assert hit.document is second.documents[0]


def test_a_changed_profile_is_searched_as_it_is_now() -> None:
    before, bm25 = profile("red boat"), BM25()
    after = replace(before, documents=(Document("0", "blue sea"),))
    bm25.search(before, "boat", 1)

    assert bm25.search(after, "boat", 1) == []
    assert ids(bm25.search(after, "sea", 1)) == ["0"]


def test_k_larger_than_the_profile_gives_what_matches() -> None:
    assert ids(BM25().search(profile("boat", "sea", "boat boat"), "boat", 1000)) == ["2", "0"]


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(OptionError, match=naming("k", k)):
        BM25().search(profile("boat"), "boat", k)


@pytest.mark.parametrize("query", ["", "  ", "the", "nothing of that", "\x00", "\ud800"])
def test_a_query_that_matches_nothing_finds_nothing(query: str) -> None:
    assert BM25().search(profile("boat", "", "sea"), query, 3) == []


@pytest.mark.parametrize("who", [profile(), profile("", "the"), profile("...")])
def test_a_profile_without_terms_has_nothing_to_find(who: Profile) -> None:
    assert BM25().search(who, "boat", 3) == []


def test_a_batch_gives_the_lists_of_its_parts() -> None:
    people = [profile(f"boat {n}", f"sea {n} {n}", user=str(n)) for n in range(5)]
    requests = [(who, query) for who in people for query in ("boat sea", "3 sea", "")]
    bm25 = BM25()

    assert bm25.search_many(requests, 2) == [bm25.search(who, query, 2) for who, query in requests]


def test_threads_get_the_answers_that_one_thread_gets() -> None:
    people = [profile(f"boat number {n}", "sea", f"boat {n} sea", user=str(n)) for n in range(40)]
    bm25 = BM25(cache=3)
    asked = [(who, "number sea boat", 3) for who in people] * 20

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda question: bm25.search(*question), asked))

    assert found == [BM25().search(*question) for question in asked]


def test_only_so_many_users_indexes_are_kept_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(who: Profile) -> Postings:
        indexed.append(who.user_id)
        return postings(who)

    indexed: list[str] = []
    monkeypatch.setattr("profilegym.envs.retrieval.bm25.postings", noted)
    bm25 = BM25(cache=2)

    for user in "0102021":
        bm25.search(profile("boat", user=user), "boat", 1)

    assert indexed == ["0", "1", "2", "1"]


def test_options_reach_it_through_its_spec() -> None:
    who = profile("boat boat boat and more", "boat")

    plain, counting = make_retriever("bm25"), make_retriever("bm25:k1=50,b=0")

    assert ids(plain.search(who, "boat", 2)) == ids(counting.search(who, "boat", 2)) == ["0", "1"]
    assert counting.search(who, "boat", 2)[0].score > 2.5 * counting.search(who, "boat", 2)[1].score


@pytest.mark.parametrize("options", [{"k1": 0}, {"k1": float("nan")}, {"b": 1.5}, {"b": -1}, {"cache": 0}])
def test_options_that_cannot_work_are_refused_with_their_values(options: dict[str, float]) -> None:
    ((name, value),) = options.items()

    with pytest.raises(OptionError, match=f"{name}={value}"):
        BM25(**options)  # type: ignore[arg-type]


def test_an_index_of_ready_terms_ranks_as_counting_them_one_by_one_does() -> None:
    rng = random.Random(4)
    documents = [rng.choices("abcdefgh", k=rng.choice([0, 3, 90, 500])) for _ in range(60)]
    names = [str(rng.random()) for _ in documents]
    index = Index(Postings.build(documents, names))

    for _ in range(20):
        query = rng.choices("abcdefghxyz", k=rng.randint(1, 6))
        scores = [slow_score(documents, document, query) for document in documents]
        best = sorted((score for score in scores if score), reverse=True)[:20]

        positions, found = index.top(query, 20)

        assert found == pytest.approx(best, rel=1e-6)
        assert len(set(positions)) == len(positions)
        assert [scores[position] for position in positions] == pytest.approx(found, rel=1e-6)


def slow_score(documents: list[list[str]], document: list[str], query: list[str]) -> float:
    filled = [one for one in documents if one]
    average, score = sum(map(len, filled)) / len(filled), 0.0
    for term in query:
        having = sum(term in one for one in filled)
        idf = np.log(1 + (len(filled) - having + 0.5) / (having + 0.5))
        count = document.count(term)
        length = len(document) if len(document) < 40 else kept_bits(len(document) - 24) + 24
        score += idf * count / (count + 0.9 * (0.6 + 0.4 * length / average))
    return float(score)


def kept_bits(length: int) -> int:
    """The four highest bits of a length, which is what Lucene keeps of it."""
    shift = max(length.bit_length() - 4, 0)
    return length >> shift << shift


def test_numbers_are_kept_in_as_few_bytes_as_they_need() -> None:
    small = Postings.build([["a", "b"]] * 200, [str(number) for number in range(200)])
    often = Postings.build([["a"] * 300, ["b"]] * 200, [str(number) for number in range(400)])

    assert (small.documents.itemsize, small.counts.itemsize) == (1, 1)
    assert (often.documents.itemsize, often.counts.max()) == (2, 300)
