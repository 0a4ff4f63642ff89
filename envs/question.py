"""Who asks, what they wrote before, and what a good answer must hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Document:
    """One thing the user wrote in the past."""

    id: str
    text: str
    date: str | None = None  # ISO 8601, where known
    title: str | None = None


@dataclass(frozen=True)
class Profile:
    """A user's past documents in time order: the only thing that can be searched."""

    user_id: str
    documents: tuple[Document, ...]
    left_out: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)  # leaks removed, by reason

    def __len__(self) -> int:
        return len(self.documents)

    @cached_property
    def by_id(self) -> dict[str, Document]:
        return {document.id: document for document in self.documents}

    @cached_property
    def lines(self) -> dict[int, dict[str, str]]:
        """How policies saw the documents, by length and id: filled by episodes, and gone with the profile."""
        return {}

    @cached_property
    def digest(self) -> bytes:
        """Identifies owner and content, so that a changed profile is never answered from an old index."""
        hashed = blake2b(digest_size=16)
        for part in (self.user_id, *(p for d in self.documents for p in (d.id, d.text, d.date or "", d.title or ""))):
            data = part.encode("utf-8", "surrogatepass")
            hashed.update(len(data).to_bytes(8, "little") + data)
        return hashed.digest()


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing the user needs covered; phrases and documents are known only where the data set made them."""

    title: str
    reason: str = ""
    evidence: str = ""
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()  # ids of the profile documents that this aspect rests on


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a good answer holds: for scoring only, never shown to a policy."""

    narrative: str = ""
    aspects: tuple[Aspect, ...] = ()
    reference: str | None = None
    hops: int | None = None  # how many searches the answer needs, where known


@dataclass(frozen=True, slots=True)
class Question:
    """One question by one user. The rubric stays out of `repr`, so that a log line cannot leak it."""

    id: str
    user_id: str
    text: str
    profile: Profile = field(repr=False)
    rubric: Rubric = field(default=Rubric(), repr=False)
    category: str | None = None
    date: str | None = None
    query: str = field(default="", repr=False)  # what to search for, where the text also holds instructions

    @property
    def search_text(self) -> str:
        """What a search for the question as a whole looks for."""
        return self.query or self.text
