"""How well a ranked list finds what is relevant, as trec_eval measures it.

Precision alone differs where fewer than k were found: it is the share of those.
"""

from collections.abc import Collection, Sequence
from math import log2


def recall(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """The share of what is relevant that is among the first k."""
    return len(set(ranked[:k]) & set(relevant)) / len(relevant)


def precision(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """The share of the first k that are relevant; 0 where nothing was found."""
    first = ranked[:k]
    return sum(name in relevant for name in first) / len(first) if first else 0.0


def ndcg(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Gain of the first k over that of the best order; what is relevant at rank r gains 1 / log2(1 + r)."""
    gain = sum(_gain(rank) for rank, name in enumerate(ranked[:k], 1) if name in relevant)
    return gain / sum(_gain(rank) for rank in range(1, min(k, len(relevant)) + 1))


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """1 / the first relevant rank; 0 where nothing relevant was found."""
    return next((1 / rank for rank, name in enumerate(ranked, 1) if name in relevant), 0.0)


def _gain(rank: int) -> float:
    return 1 / log2(1 + rank)
