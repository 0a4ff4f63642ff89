"""Hybrid retriever: fuses the rankings of several retrievers."""

from collections import defaultdict
from collections.abc import Sequence
from math import inf

from ...errors import OptionError
from ..question import Profile
from .retriever import Hit, Retriever, check_k, make_retriever


class Hybrid:
    """Reciprocal rank fusion: a document's score is the sum of weight / (constant + rank) over the parts that find it.

    Cormack, Clarke and Büttcher, SIGIR 2009, with the constant 60. `parts` are specs joined by `+`, or retrievers.
    `weights` are the parts' weights, joined by `+` or a sequence; 1 each by default. `depth` is the number of hits
    taken from each part.
    """

    def __init__(
        self,
        parts: "str | Sequence[str | Retriever]" = "bm25+dense",
        *,
        weights: "str | Sequence[float] | None" = None,
        constant: int = 60,
        depth: int = 100,
    ) -> None:
        specs = parts.split("+") if isinstance(parts, str) else parts
        if len(specs) < 2:
            raise OptionError(f"hybrid needs at least two retrievers, as in hybrid:bm25+dense, not {parts!r}")
        if constant < 0 or depth < 1:
            raise OptionError(f"constant={constant}, depth={depth}: give at least 0 and 1")
        self._parts: list[Retriever] = [make_retriever(spec) for spec in specs]
        self._weights = [1.0] * len(specs) if weights is None else _weights(weights, len(specs))
        self._constant = constant
        self._depth = depth

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        check_k(k)
        rankings = [part.search_many(requests, max(k, self._depth)) for part in self._parts]
        return [self._fuse(profile, lists)[:k] for (profile, _), *lists in zip(requests, *rankings, strict=True)]

    def _fuse(self, profile: Profile, lists: list[list[Hit]]) -> list[Hit]:
        scores: dict[str, float] = defaultdict(float)
        for weight, hits in zip(self._weights, lists, strict=True):
            for rank, hit in enumerate(hits, start=1):
                scores[hit.document.id] += weight / (self._constant + rank)
        fused = [Hit(document, scores[document.id]) for document in profile.documents if document.id in scores]
        return sorted(fused, key=lambda hit: (-hit.score, hit.document.id))


def _weights(given: str | Sequence[float], parts: int) -> list[float]:
    pieces = given.split("+") if isinstance(given, str) else given
    try:
        found = [float(piece) for piece in pieces]
    except (TypeError, ValueError):
        found = []
    if len(found) != parts or not all(0 < weight < inf for weight in found):
        raise OptionError(f"weights={given}: give a number above 0 for each of the {parts} parts, as in weights=2+1")
    return found
