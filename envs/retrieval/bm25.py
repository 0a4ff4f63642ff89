"""BM25 over one user's documents, ranked exactly as Lucene ranks them when Anserini runs it."""

import threading
from collections import OrderedDict
from pathlib import Path

from ..errors import OptionError
from ..question import Document, Profile
from .analyzer import analyze
from .postings import Index, Postings
from .retriever import Hit, OneByOne, check_k


class BM25(OneByOne):
    """Analyses the query, finds or makes the profile's index, ranks. Title and text are searched as one.

    `store` names a folder that `profilegym index` wrote; a profile that is not in it is indexed here. `cache` bounds
    how many users' indexes are kept.
    """

    def __init__(self, *, k1: float = 0.9, b: float = 0.4, store: str | None = None, cache: int = 4096) -> None:
        if not (k1 > 0 and 0 <= b <= 1 and cache >= 1):
            raise OptionError(f"bm25 wants k1 > 0, b from 0 to 1 and cache >= 1, not k1={k1}, b={b}, cache={cache}")
        self._k1, self._b, self._cache = k1, b, cache
        self._indexes: OrderedDict[bytes, Index] = OrderedDict()
        self._lock = threading.Lock()
        self._store = None
        if store is not None:
            from .store import Store  # only who asks for one pays for mmap and json

            self._store = Store(Path(store))

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        check_k(k)
        positions, scores = self._index(profile).top(analyze(query), k)
        return [Hit(profile.documents[position], score) for position, score in zip(positions, scores, strict=True)]

    def _index(self, profile: Profile) -> Index:
        digest = profile.digest
        with self._lock:
            if digest in self._indexes:
                self._indexes.move_to_end(digest)
                return self._indexes[digest]
        stored = self._store.find(digest) if self._store else None  # two threads may both build: the results are equal
        index = Index(stored or postings(profile), self._k1, self._b)
        with self._lock:
            self._indexes[digest] = index
            if len(self._indexes) > self._cache:
                self._indexes.popitem(last=False)
        return index


def postings(profile: Profile) -> Postings:
    """The profile, analysed."""
    terms = [analyze(searchable_text(document)) for document in profile.documents]
    return Postings.build(terms, [document.id for document in profile.documents])


def searchable_text(document: Document) -> str:
    """What a search looks through: the title, where there is one, and the text."""
    return f"{document.title} {document.text}" if document.title else document.text
