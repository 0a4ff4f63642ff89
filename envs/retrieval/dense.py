"""Ranking by the similarity of embeddings."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..._util.lru import Lru
from ...errors import OptionError
from ..question import Document, Profile
from .embedding_cache import EmbeddingCache, default_folder
from .encoder import Encoder, Vectors
from .retriever import Hit, check_k
from .text import searchable_text

_QUERIES = 10_000  # a group's episodes repeat each other's queries; 15 MB at 384 dimensions


class _Embedded(NamedTuple):
    """A profile's distinct texts as rows: equal texts score equal to the last bit.

    The documents are in the order of their ids, which is the order of ties; `rows` holds the row of each.
    """

    vectors: Vectors
    documents: list[Document]
    rows: npt.NDArray[np.intp]


class Dense:
    """Exact search over one profile's embeddings, by cosine or by the plain dot product.

    `model` is a folder or a hub id; without one, the MiniLM that comes with the `dense` extra. Document embeddings are
    kept in `cache` (a folder; `False` for none), those of the last `profiles` profiles in memory as well.
    """

    def __init__(
        self,
        model: str = "",
        *,
        similarity: str = "cosine",
        batch: int = 32,
        cache: str | bool = True,
        device: str | None = None,
        bf16: bool = False,
        profiles: int = 512,
    ) -> None:
        if similarity not in ("cosine", "dot"):
            raise OptionError(f"similarity is {similarity!r}; it can be cosine or dot")
        self._again = partial(
            Dense,
            model,
            similarity=similarity,
            batch=batch,
            cache=cache,
            device=device,
            bf16=bf16,
            profiles=profiles,
        )
        self._cosine = similarity == "cosine"
        self._profiles: Lru[bytes, _Embedded] = Lru(profiles)
        self._queries: Lru[str, Vectors] = Lru(_QUERIES)
        self._embedding = Lock()  # two threads that ask for one new profile embed it once
        self._encoder = Encoder(model, batch=batch, device=device, bf16=bf16)
        self._disk = _disk(cache, self._encoder)

    def __reduce__(self) -> "tuple[partial[Dense], tuple[()]]":
        """Another process loads the encoder anew."""
        return self._again, ()

    def __deepcopy__(self, _: object) -> Self:
        """Nothing that a search changes can be seen from outside, and a copy would load the encoder once more."""
        return self

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        check_k(k)
        vectors = self._query_vectors([query for profile, query in requests if profile.documents and query.strip()])
        return [
            self._rank(profile, vectors[query], k) if profile.documents and query in vectors else []
            for profile, query in requests
        ]

    def _rank(self, profile: Profile, query: Vectors, k: int) -> list[Hit]:
        vectors, documents, rows = self._embedded(profile)
        scores = (vectors @ query)[rows]
        return [Hit(documents[i], float(scores[i])) for i in best(scores, k)]

    def _query_vectors(self, queries: Sequence[str]) -> dict[str, Vectors]:
        known = {query: self._queries.get(query) for query in queries}
        new = [query for query, vector in known.items() if vector is None]
        if new:
            for query, vector in zip(new, self._scaled(self._encoder.queries(new)), strict=True):
                self._queries.put(query, vector)
                known[query] = vector
        return {query: vector for query, vector in known.items() if vector is not None}

    def _embedded(self, profile: Profile) -> _Embedded:
        embedded = self._profiles.get(profile.digest)
        if embedded is None:
            with self._embedding:
                embedded = self._profiles.get(profile.digest) or self._embed(profile)
                self._profiles.put(profile.digest, embedded)
        return embedded

    def _embed(self, profile: Profile) -> _Embedded:
        documents = sorted(profile.documents, key=lambda document: document.id)
        texts = [searchable_text(document) for document in documents]
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._scaled(self._document_vectors(list(row_of)))
        return _Embedded(vectors, documents, np.array([row_of[text] for text in texts]))

    def _document_vectors(self, texts: list[str]) -> Vectors:
        known = self._disk.read(texts) if self._disk else {}
        new = [text for text in texts if text not in known]
        if new:
            made = dict(zip(new, self._encoder.documents(new), strict=True))
            if self._disk:
                self._disk.write(made)
            known |= made
        return np.stack([known[text] for text in texts])

    def _scaled(self, vectors: Vectors) -> Vectors:
        if not self._cosine:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return scaled


def best(scores: Vectors, k: int) -> npt.NDArray[np.intp]:
    """Positions of the k highest scores, best first, ties in order of position."""
    distances = -scores
    if k >= len(scores):
        return distances.argsort(kind="stable")
    split = distances.copy()
    split.partition(k - 1)
    candidates = (distances <= split[k - 1]).nonzero()[0]  # more than k where the last place is shared
    chosen: npt.NDArray[np.intp] = candidates[distances[candidates].argsort(kind="stable")][:k]
    return chosen


def _disk(cache: str | bool, encoder: Encoder) -> EmbeddingCache | None:
    if cache is False:
        return None
    folder = default_folder() if cache is True else Path(cache).expanduser()
    return EmbeddingCache(folder, encoder.name, encoder.fingerprint)
