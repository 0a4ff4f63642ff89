"""Retrieval by features: a query is matched against what moves a person in each post, not against its words."""

from collections.abc import Sequence

from ..._util.lru import Lru
from ...envs.question import Document, Profile
from ...envs.retrieval import Hit, Retriever, make_retriever
from .library import FOLDER, Library

_IN_MEMORY = 512  # profiles


class Features:
    """Ranks by the features in users' models, which must be there: `models` is their folder, `by` who made them.

    `index` is the retriever that compares the features' texts.
    """

    def __init__(self, models: str | Library = FOLDER, by: str | None = None, index: str | Retriever = "bm25") -> None:
        self._library = models if isinstance(models, Library) else Library(models)
        self._by, self._index = by, make_retriever(index)
        self._keys: Lru[tuple[str, str], Profile] = Lru(_IN_MEMORY)  # by the posts, and by who read them

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        keyed = [(self._key_of(profile) if profile.documents else profile, query) for profile, query in requests]
        found = self._index.search_many(keyed, k)
        return [
            [Hit(profile.by_id[hit.document.id], hit.score) for hit in hits]
            for (profile, _), hits in zip(requests, found, strict=True)
        ]

    def _key_of(self, profile: Profile) -> Profile:
        """The same documents, each with its features for a text."""
        user = self._library.find(profile, self._by)
        keys = self._keys.get((user.profile, user.by))
        if keys is None:
            keys = Profile(profile.user_id, tuple(Document(memory.document, memory.key) for memory in user.memories))
            self._keys.put((user.profile, user.by), keys)
        return keys
