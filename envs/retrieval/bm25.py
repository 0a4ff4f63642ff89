"""BM25 over one user's documents, with exactly the ranking of Anserini (Lucene)."""

from pathlib import Path

from ..._util.lru import Lru
from ...errors import OptionError
from ..question import Profile
from .analyzer import analyze
from .postings import Index, Postings
from .retriever import BaseRetriever, Hit, check_k, searchable_text


class BM25(BaseRetriever):
    """Searches title and text together.

    `store` is a folder that `profilegym index` wrote, or one of its files; profiles that are not in it are indexed in
    memory. `cache` is the number of users' indexes kept in memory.
    """

    runs_inline = True  # faster than a call in a thread

    def __init__(self, *, k1: float = 0.9, b: float = 0.4, store: str | Path | None = None, cache: int = 4096) -> None:
        if not (k1 > 0 and 0 <= b <= 1 and cache >= 1):
            raise OptionError(f"bm25 needs k1 > 0, b from 0 to 1 and cache >= 1, not k1={k1}, b={b}, cache={cache}")
        self._k1, self._b = k1, b
        self._indexes: Lru[bytes, Index] = Lru(cache)
        self._store = None
        if store is not None:
            from .sharded_store import open_store  # imports mmap, which is only needed here

            self._store = open_store(Path(str(store)))  # in a spec, a folder's name may look like a number

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        check_k(k)
        positions, scores = self._index(profile).top(analyze(query), k)
        documents = profile.documents
        return [Hit(documents[position], score) for position, score in zip(positions, scores, strict=True)]

    def _index(self, profile: Profile) -> Index:
        index = self._indexes.get(profile.digest)
        if index is None:  # two threads may build the same index
            stored = self._store.find(profile) if self._store else None
            index = Index(stored or postings(profile), self._k1, self._b)
            self._indexes.put(profile.digest, index)
        return index


def postings(profile: Profile) -> Postings:
    """The postings of a profile's documents."""
    terms = [analyze(searchable_text(document)) for document in profile.documents]
    return Postings.build(terms, [document.id for document in profile.documents])
