"""Random retriever, a seeded control."""

from hashlib import blake2b

import numpy as np

from ..question import Profile
from .retriever import BaseRetriever, Hit, check_k


class Random(BaseRetriever):
    """Ranks documents at random. The order depends only on the seed, the profile and the query."""

    runs_inline = True  # faster than a call in a thread

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        check_k(k)
        if not query.strip():
            return []
        scores = self._generator(profile, query).random(len(profile))
        return [Hit(profile.documents[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:k]]

    def _generator(self, profile: Profile, query: str) -> np.random.Generator:
        digest = blake2b(profile.digest + query.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return np.random.default_rng([self._seed, int.from_bytes(digest)])
