"""The engines that `bench retrieval` compares."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from ..envs.retrieval.postings import LENGTHS, Index, Postings

K1, B = np.float32(0.9), np.float32(0.4)
Documents = Sequence[Sequence[str]]


class Engine(Protocol):
    def build(self, documents: Documents) -> Any: ...

    def search(self, index: Any, query: Sequence[str], k: int) -> list[int]: ...


class ProfileGym:
    def build(self, documents: Documents) -> Index:
        return Index(Postings.build(documents, [str(position) for position in range(len(documents))]))

    def search(self, index: Index, query: Sequence[str], k: int) -> list[int]:
        return index.top(query, k)[0]


class PlainNumpy:
    """Lucene's ranking written directly: precomputed term weights, one addition per query term."""

    def build(self, documents: Documents) -> Any:
        terms: dict[str, int] = {}
        number = terms.setdefault
        lengths = np.fromiter((len(document) for document in documents), np.int64, len(documents))
        numbers = np.fromiter((number(word, len(terms)) for document in documents for word in document), np.int64)
        size = len(documents)
        pairs, counts = np.unique(numbers * size + np.repeat(np.arange(size), lengths), return_counts=True)
        term, document = pairs // size, (pairs % size).astype(np.int32)
        found_in = np.bincount(term, minlength=len(terms))
        starts = np.concatenate([[0], np.cumsum(found_in)]).tolist()
        weight = np.log(1 + (size - found_in + 0.5) / (found_in + 0.5)).astype(np.float32)[term]
        kept = LENGTHS[np.searchsorted(LENGTHS, lengths, "right") - 1].astype(np.float32)
        norm = np.float32(1) / (K1 * ((np.float32(1) - B) + B * kept / np.float32(lengths.sum() / size)))
        gains = weight - weight / (np.float32(1) + counts.astype(np.float32) * norm[document])
        ties = np.argsort(np.argsort(np.array([str(position) for position in range(size)])))
        return terms, starts, document, gains, ties

    def search(self, index: Any, query: Sequence[str], k: int) -> list[int]:
        terms, starts, document, gains, ties = index
        sums = np.zeros(len(ties))
        for word in query:
            term = terms.get(word)
            if term is not None:
                first, last = starts[term], starts[term + 1]
                sums[document[first:last]] += gains[first:last]
        scores = sums.astype(np.float32)
        least = np.partition(scores, len(scores) - k)[len(scores) - k] if len(scores) > k else 0
        found = np.flatnonzero(scores >= least) if least > 0 else np.flatnonzero(scores)
        best: list[int] = found[np.lexsort((ties[found], -scores[found]))][:k].tolist()
        return best


class BM25S:
    def __init__(self) -> None:
        self._make: Callable[..., Any] = import_module("bm25s").BM25

    def build(self, documents: Documents) -> Any:
        index = self._make(method="lucene", k1=float(K1), b=float(B), backend="numpy")
        index.index(documents, show_progress=False)
        return index

    def search(self, index: Any, query: Sequence[str], k: int) -> list[int]:
        k = min(k, index.scores["num_docs"])
        found, scores = index.retrieve([query], k=k, show_progress=False, n_threads=0)
        return [int(position) for position, score in zip(found[0], scores[0], strict=True) if score > 0]


class RankBM25:
    def __init__(self) -> None:
        self._make: Callable[..., Any] = import_module("rank_bm25").BM25Okapi

    def build(self, documents: Documents) -> Any:
        return self._make(documents, k1=float(K1), b=float(B))

    def search(self, index: Any, query: Sequence[str], k: int) -> list[int]:
        scores = index.get_scores(query)
        return [int(position) for position in np.argsort(-scores, kind="stable")[:k] if scores[position] > 0]


ENGINES: dict[str, tuple[str, Callable[[], Engine]]] = {  # name -> (the module it needs, how it is made)
    "profilegym": ("numpy", ProfileGym),
    "plain numpy": ("numpy", PlainNumpy),
    "bm25s": ("bm25s", BM25S),
    "rank-bm25": ("rank_bm25", RankBM25),
}


def installed() -> tuple[dict[str, Engine], list[str]]:
    """The engines that are installed, and the names of those that are not."""
    absent = [name for name, (module, _) in ENGINES.items() if find_spec(module) is None]
    return {name: make() for name, (_, make) in ENGINES.items() if name not in absent}, absent
