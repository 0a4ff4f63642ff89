"""Dense retriever: ranks by the similarity of embeddings."""

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
from .retriever import Hit, check_k, searchable_text

_CACHED_QUERIES = 10_000  # the episodes of a group repeat queries; 15 MB at 384 dimensions


class _Embedded(NamedTuple):
    """The vectors of a profile's distinct texts, so that equal texts have exactly equal scores.

    The documents are sorted by id, which is the order of ties. `rows` has the row of each in `vectors`.
    """

    vectors: Vectors
    documents: list[Document]
    rows: npt.NDArray[np.intp]


class Dense:
    """Exact search over one profile's embeddings, by cosine similarity or dot product.

    `model` is a folder or a hub id; the default is the MiniLM of the `dense` extra. `cache` is the folder for document
    embeddings (`False` for none). Those of the last `profiles` profiles are also kept in memory. `query` and `document`
    are prefixes of texts, in place of those that the model declares.
    """

    def __init__(
        self,
        model: str = "",
        *,
        similarity: str = "cosine",
        query: str | None = None,
        document: str | None = None,
        batch: int = 32,
        cache: str | bool = True,
        device: str | None = None,
        bf16: bool = False,
        profiles: int = 512,
    ) -> None:
        if similarity not in ("cosine", "dot"):
            raise OptionError(f"similarity={similarity!r}: give cosine or dot")
        prompts = {name: text for name, text in (("query", query), ("document", document)) if text is not None}
        self._factory = partial(
            Dense,
            model,
            similarity=similarity,
            batch=batch,
            cache=cache,
            device=device,
            bf16=bf16,
            profiles=profiles,
            **prompts,
        )
        self._cosine = similarity == "cosine"
        self._profiles: Lru[bytes, _Embedded] = Lru(profiles)
        self._queries: Lru[str, Vectors] = Lru(_CACHED_QUERIES)
        self._embed_lock = Lock()  # so that two threads do not embed the same profile
        self._encoder = Encoder(model, batch=batch, device=device, bf16=bf16, prompts=prompts)
        self._disk = _embedding_cache(cache, self._encoder)

    def __reduce__(self) -> "tuple[partial[Dense], tuple[()]]":
        """Unpickling loads the encoder again."""
        return self._factory, ()

    def __deepcopy__(self, _: object) -> Self:
        """The same object: it has no visible state that changes, and a copy would load the encoder again."""
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
            with self._embed_lock:
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
            vectors = dict(zip(new, self._encoder.documents(new), strict=True))
            if self._disk:
                self._disk.write(vectors)
            known |= vectors
        return np.stack([known[text] for text in texts])

    def _scaled(self, vectors: Vectors) -> Vectors:
        if not self._cosine:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return scaled


def best(scores: Vectors, k: int) -> npt.NDArray[np.intp]:
    """Positions of the k highest scores, best first; ties are in order of position."""
    distances = -scores
    if k >= len(scores):
        return distances.argsort(kind="stable")
    kth = np.partition(distances, k - 1)[k - 1]
    candidates = (distances <= kth).nonzero()[0]  # more than k where scores tie
    chosen: npt.NDArray[np.intp] = candidates[distances[candidates].argsort(kind="stable")][:k]
    return chosen


def _embedding_cache(cache: str | bool, encoder: Encoder) -> EmbeddingCache | None:
    if cache is False:
        return None
    folder = default_folder() if cache is True else Path(cache).expanduser()
    return EmbeddingCache(folder, encoder.name, encoder.fingerprint)
