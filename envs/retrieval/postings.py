"""The postings of one user's documents, and Lucene's BM25 over them."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Terms(Protocol):
    """Maps a term to its number."""

    def get(self, term: str, /) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Postings:
    """One user's documents sorted by id as a string, which is the order in which Anserini breaks ties."""

    terms: Terms
    starts: Sequence[int]  # the postings of term t are starts[t] to starts[t + 1]
    documents: Array
    counts: Array
    lengths: Array  # one byte per document, in Lucene's encoding
    order: Array  # document number -> position in the profile
    total: int  # number of terms in all documents

    @classmethod
    def build(cls, documents: Sequence[Sequence[str]], ids: Sequence[str]) -> "Postings":
        order = sorted(range(len(documents)), key=ids.__getitem__)
        flat = list(chain.from_iterable(documents[position] for position in order))
        terms = {term: number for number, term in enumerate(dict.fromkeys(flat))}
        lengths = np.fromiter((len(documents[position]) for position in order), np.int64, len(order))
        width: Any = np.uint32 if len(terms) * len(order) < 2**32 else np.uint64
        keys = np.fromiter(map(terms.__getitem__, flat), width, len(flat)) * width(len(order))
        keys += np.repeat(np.arange(len(order), dtype=width), lengths)
        keys.sort()
        firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
        term, document = np.divmod(keys[firsts], width(max(len(order), 1)))
        return cls(
            terms,
            array("I", np.searchsorted(term, np.arange(len(terms) + 1)).astype(np.uint32).tobytes()),
            document.astype(np.min_scalar_type(len(order))),
            _compact(np.diff(firsts, append=len(keys))),
            _encode_lengths(lengths),
            np.array(order, np.min_scalar_type(len(order))),
            len(flat),
        )


class Index:
    """Ranks documents with given k1 and b."""

    def __init__(self, postings: Postings, k1: float = 0.9, b: float = 0.4) -> None:
        self._postings = postings
        self._size = int(np.count_nonzero(postings.lengths))  # Lucene does not count documents without terms
        average = np.float32(max(postings.total, 1) / max(self._size, 1))
        lengths = LENGTHS[postings.lengths].astype(np.float32)
        one, k1_, b_ = np.float32(1), np.float32(k1), np.float32(b)
        self._norms = one / (k1_ * ((one - b_) + b_ * lengths / average))

    def top(self, query: Sequence[str], k: int) -> tuple[list[int], list[float]]:
        """Positions and scores of the best `k` documents that match a term, best first."""
        scores = self._scores(query)
        if scores is None:
            return [], []
        if len(scores) > k:
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            found = (scores >= least).nonzero()[0] if least > 0 else scores.nonzero()[0]
        else:
            found = scores.nonzero()[0]
        best = found[(-scores[found]).argsort(kind="stable")[:k]]
        return self._postings.order[best].tolist(), scores[best].tolist()

    def _scores(self, query: Sequence[str]) -> Array | None:
        """As Lucene computes them: the contribution of a term in float32, their sum in float64."""
        postings, starts = self._postings, self._postings.starts
        query_counts: dict[str, int] = {}
        for term in query:
            query_counts[term] = query_counts.get(term, 0) + 1
        spans, weights, sizes = [], [], []
        for term, count in query_counts.items():
            number = postings.terms.get(term)
            if number is not None:
                first, last = starts[number], starts[number + 1]
                spans.append(slice(first, last))
                sizes.append(last - first)
                weights.append(count * _idf(last - first, self._size))
        if not spans:
            return None
        documents = np.concatenate([postings.documents[span] for span in spans])
        weight = np.repeat(np.array(weights, np.float32), sizes)
        divisor = np.concatenate([postings.counts[span] for span in spans]) * self._norms[documents]
        divisor += 1
        weight -= weight / divisor
        return np.bincount(documents, weight, len(self._norms)).astype(np.float32)


@lru_cache(maxsize=65_536)
def _idf(matching: int, documents: int) -> float:
    return float(np.float32(math.log(1 + (documents - matching + 0.5) / (matching + 0.5))))


def _compact(counts: Array) -> Array:
    """As one byte each if they fit, else as float32, which Lucene uses too."""
    return counts.astype(np.uint8 if counts.size == 0 or counts.max() < 256 else np.float32)


# The length of each byte code (Lucene's SmallFloat): exact up to 40, then with four significant bits.
_COARSE = [*range(8), *((8 + code % 8) << (code // 8 - 1) for code in range(8, 232))]
LENGTHS = np.array([*range(24), *(24 + length for length in _COARSE)], np.int64)


def _encode_lengths(lengths: Array) -> Array:
    return (np.searchsorted(LENGTHS, lengths, "right") - 1).astype(np.uint8)
