"""How well a ranked list finds the relevant documents: recall, nDCG and reciprocal rank, as trec_eval computes them."""

from collections.abc import Collection, Sequence
from math import log2


def recall(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """The share of the relevant documents that are among the first k."""
    return len(set(ranked[:k]) & set(relevant)) / len(relevant)


def ndcg(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Gain of the first k over that of the best order; a relevant document at rank r gains 1 / log2(1 + r)."""
    gain = sum(_gain(rank) for rank, name in enumerate(ranked[:k], 1) if name in relevant)
    return gain / sum(_gain(rank) for rank in range(1, min(k, len(relevant)) + 1))


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """1 / the rank of the first relevant document; 0 where none was found."""
    return next((1 / rank for rank, name in enumerate(ranked, 1) if name in relevant), 0.0)


def _gain(rank: int) -> float:
    return 1 / log2(1 + rank)
