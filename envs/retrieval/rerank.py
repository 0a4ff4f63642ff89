"""Reranking retriever: a cross-encoder reads the query with each document that another retriever found."""

from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Self

from ...errors import OptionError
from ..question import Profile
from ..text import well_formed
from .encoder import load_model
from .retriever import Hit, Retriever, check_k, make_retriever, searchable_text

Pair = tuple[str, str]  # query and document


class Rerank:
    """Ranks the first `depth` hits of the retriever `over` by the scores of a sentence-transformers CrossEncoder.

    `model` is a folder or a hub id. A search for more than `depth` documents ranks all of them.
    """

    def __init__(
        self,
        model: str,
        *,
        over: "str | Retriever" = "hybrid",
        depth: int = 50,
        batch: int = 32,
        device: str | None = None,
    ) -> None:
        if depth < 1 or batch < 1:
            raise OptionError(f"depth={depth}, batch={batch}: give at least 1")
        self._over = make_retriever(over)
        self._factory = partial(Rerank, model, over=self._over, depth=depth, batch=batch, device=device)
        self._depth, self._batch = depth, batch
        self._model = load_model("CrossEncoder", model, device, "rerank")
        self._lock = Lock()  # fast tokenizers are not thread-safe

    def __reduce__(self) -> "tuple[partial[Rerank], tuple[()]]":
        """Unpickling loads the model again."""
        return self._factory, ()

    def __deepcopy__(self, _: object) -> Self:
        """The same object: it has no visible state that changes, and a copy would load the model again."""
        return self

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        check_k(k)
        found = self._over.search_many(requests, max(k, self._depth))
        pairs = [
            [(query, searchable_text(hit.document)) for hit in hits]
            for (_, query), hits in zip(requests, found, strict=True)
        ]
        scores = self._scores([pair for row in pairs for pair in row])
        return [_ranked(hits, [scores[pair] for pair in row])[:k] for hits, row in zip(found, pairs, strict=True)]

    def _scores(self, pairs: list[Pair]) -> dict[Pair, float]:
        """Equal pairs are scored once, so that equal documents have exactly equal scores."""
        distinct = list(dict.fromkeys(pairs))
        if not distinct:
            return {}
        texts = [(well_formed(query), well_formed(text)) for query, text in distinct]
        with self._lock:
            scores = self._model.predict(texts, batch_size=self._batch, show_progress_bar=False)
        if scores.ndim != 1:
            raise OptionError(
                f"the model of rerank gives {scores.shape[1]} scores a document; name one that gives one, such as "
                "cross-encoder/ms-marco-MiniLM-L6-v2"
            )
        return dict(zip(distinct, map(float, scores), strict=True))


def _ranked(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    scored = [Hit(hit.document, score) for hit, score in zip(hits, scores, strict=True)]
    return sorted(scored, key=lambda hit: (-hit.score, hit.document.id))
