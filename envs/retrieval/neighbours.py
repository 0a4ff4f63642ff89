"""What surrounds a document in its profile: searched with it (`context`, `dates`), or shown beside it (`window`)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf, nextafter

from ..._util.lru import Lru
from ..._util.registry import Scalar
from ...errors import OptionError
from ..question import Document, Profile
from .retriever import Hit, Retriever, searchable_text

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DATE = re.compile(r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(\d\d))?)?(?:T|$)")
_CACHED_PROFILES = 512


def with_neighbours(
    retriever: Retriever, *, context: Scalar = 0, dates: Scalar = False, window: Scalar = 0
) -> Retriever:
    """The retriever with these options: `Context` where `context` or `dates` is given, and around it `Window`."""
    searched, shown = _reach("context", context), _reach("window", window)
    if not isinstance(dates, bool):
        raise OptionError(f"dates={dates}: give true or false")
    if searched or dates:
        retriever = Context(retriever, searched, dates)
    return Window(retriever, shown) if shown else retriever


def _reach(name: str, value: Scalar) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OptionError(f"{name}={value}: give the number of documents on each side, 0 or more")
    return value


class _Around:
    """A retriever around another one; a batch is one call of that."""

    def __init__(self, retriever: Retriever, reach: int) -> None:
        self._retriever = retriever
        self._reach = reach
        self.runs_inline = getattr(retriever, "runs_inline", False)

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        raise NotImplementedError


class Context(_Around):
    """Searches each document together with those up to `reach` before and after it, and its date if `dates` is set.

    The document's own text counts twice. Hits are the documents themselves.
    """

    def __init__(self, retriever: Retriever, reach: int, dates: bool = False) -> None:
        super().__init__(retriever, reach)
        self._dates = dates
        self._rewritten: Lru[bytes, Profile] = Lru(_CACHED_PROFILES)

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        found = self._retriever.search_many([(self._rewrite(profile), query) for profile, query in requests], k)
        return [
            [Hit(profile.by_id[hit.document.id], hit.score) for hit in hits]
            for (profile, _), hits in zip(requests, found, strict=True)
        ]

    def _rewrite(self, profile: Profile) -> Profile:
        """The profile with the texts that are searched: a profile of its own, with an index of its own."""
        rewritten = self._rewritten.get(profile.digest)
        if rewritten is None:
            documents = (self._document(profile, position) for position in range(len(profile)))
            rewritten = Profile(profile.user_id, tuple(documents))
            self._rewritten.put(profile.digest, rewritten)
        return rewritten

    def _document(self, profile: Profile, position: int) -> Document:
        own = profile.documents[position]
        parts = [own, *neighbours(profile, position, self._reach)] if self._reach else [own]
        texts = [searchable_text(document) for document in parts]
        if self._dates and own.date:
            texts.insert(0, date_in_words(own.date))
        return replace(own, text=" ".join(texts), title=None, speaker=None)


class Window(_Around):
    """Shows each hit with those up to `reach` before and after it, which count towards k.

    A neighbour's score is the next number below its hit's, or its own if that is higher: a hit comes before its
    neighbours, and these before the next hit.
    """

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        found = self._retriever.search_many(requests, k)
        return [self._widen(profile, hits)[:k] for (profile, _), hits in zip(requests, found, strict=True)]

    def _widen(self, profile: Profile, hits: list[Hit]) -> list[Hit]:
        scores = {hit.document.id: hit.score for hit in hits}
        for hit in hits:
            beside = nextafter(hit.score, -inf)
            for document in neighbours(profile, profile.positions[hit.document.id], self._reach):
                scores[document.id] = max(scores.get(document.id, -inf), beside)
        shown = [Hit(profile.by_id[name], score) for name, score in scores.items()]
        return sorted(shown, key=lambda hit: (-hit.score, hit.document.id))


def neighbours(profile: Profile, position: int, reach: int) -> Iterable[Document]:
    """The documents of the same session up to `reach` before and after one in the profile, and itself."""
    documents = profile.documents
    around = documents[max(0, position - reach) : position + reach + 1]
    return (document for document in around if document.session == documents[position].session)


def date_in_words(date: str) -> str:
    """`2023-05-08T13:56` -> `8 May 2023`; as far as the date is precise."""
    found = _DATE.match(date)
    if found is None:
        return date
    year, month, day = found.groups()
    return " ".join([*([str(int(day))] if day else []), *([_MONTHS[int(month) - 1]] if month else []), year])
