"""The retrieval benchmark compares like with like, and its targets can fail."""

from typing import Any

from profilegym.benchmarks.corpus import make_corpus
from profilegym.benchmarks.retrieval import targets
from profilegym.benchmarks.retrieval_engines import PlainNumpy, ProfileGym


def test_the_corpus_is_the_same_whenever_it_is_made() -> None:
    first, second = make_corpus(3, 20, 2, seed=5), make_corpus(3, 20, 2, seed=5)

    assert first == second != make_corpus(3, 20, 2, seed=6)
    assert [len(user) for user in first.users] == [20, 20, 20]
    assert all(30 <= len(document) <= 150 for user in first.users for document in user)
    assert all(1 <= len(query) == len(set(query)) <= 12 for _, query in first.queries)


def test_the_plain_numpy_reference_does_the_same_work_as_ours() -> None:
    corpus, ours, plain = make_corpus(4, 60, 25, seed=7), ProfileGym(), PlainNumpy()
    indexes = [(ours.build(user), plain.build(user)) for user in corpus.users]

    found = [
        (ours.search(indexes[user][0], query, 10), plain.search(indexes[user][1], query, 10))
        for user, query in corpus.queries
    ]

    assert len(found) == 100
    assert all(one == other != [] for one, other in found)


def test_slow_figures_break_the_claims_that_they_should() -> None:
    fast, slow = {"build_ms": 1.0, "p50_us": 20.0}, {"build_ms": 4.0, "p50_us": 100.0}

    def broken(ours: dict[str, float], others: dict[str, float], cold: float, same: float) -> set[str]:
        figures: dict[str, Any] = {
            "cold_start_seconds": {"profilegym": cold},
            "memory_bytes_a_document": {"profilegym": 1, "bm25s": 2},
            "tokens": [{"documents": 50, "engines": {"profilegym": ours, "plain numpy": others, "bm25s": others}}],
            "lucene": [
                {"documents": 50, "engines": {"profilegym": ours, "pyserini": others}, "same_top_ten": same},
                {"documents": 200, "engines": {}, "absent": ["pyserini"]},
            ],
        }
        return {target.name for target in targets(figures) if not target.holds}

    assert broken(fast, slow, cold=0.04, same=1.0) == set()
    assert broken(slow, fast, cold=0.06, same=0.9) == {
        "cold start beyond numpy, seconds",
        "query / plain numpy, 50 documents",
        "query / bm25s, 50 documents",
        "build / bm25s, 50 documents",
        "top tens equal to Lucene's, 50 documents",
        "query from text / pyserini, 50 documents",
    }
