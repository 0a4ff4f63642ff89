"""Who asks, what they wrote before, and what a good answer must hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Literal

from .text import clean, shown_id

# Whether the answer lies in the history, need not be looked for there, or cannot be known from it.
HistoryUse = Literal["needed", "unneeded", "unanswerable"]


@dataclass(frozen=True, slots=True)
class Document:
    """One thing the user wrote in the past, or that was said to them."""

    id: str
    text: str
    date: str | None = None  # ISO 8601, where known
    title: str | None = None
    speaker: str | None = None  # who said it, where the history is a conversation
    session: str | None = None  # which of the user's conversations it is part of
    meta: tuple[tuple[str, str], ...] = ()  # further facts by name: shown to policies, not searched

    @property
    def head(self) -> str:
        """What a policy reads before the text, as far as known: `[date, session 3, name: value] speaker: title: `."""
        session = f"session {self.session}" if self.session else None
        facts = ", ".join(filter(None, (self.date, session, *(f"{name}: {value}" for name, value in self.meta))))
        return f"[{facts}] " * bool(facts) + "".join(f"{name}: " for name in (self.speaker, self.title) if name)


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
    def positions(self) -> dict[str, int]:
        return {document.id: position for position, document in enumerate(self.documents)}

    @cached_property
    def positions_by_shown_id(self) -> dict[str, int]:
        """As `positions`, by the id as policies see it; the first where ids look the same."""
        return {shown_id(document.id): position for position, document in reversed(list(enumerate(self.documents)))}

    @cached_property
    def fields(self) -> frozenset[str]:
        """Which of the optional fields some document has."""
        return frozenset(name for name in _OPTIONAL if any(getattr(document, name) for document in self.documents))

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """Who speaks in the documents, as policies see their names; in the order in which they come up."""
        return tuple(dict.fromkeys(clean(document.speaker) for document in self.documents if document.speaker))

    @cached_property
    def lines(self) -> dict[int, dict[str, str]]:
        """How policies saw the documents, by length and id: filled by episodes, and gone with the profile."""
        return {}

    @cached_property
    def views(self) -> dict[object, "Profile"]:
        """The profile without some documents, by what was left out and why; questions share them."""
        return {}

    @cached_property
    def digest(self) -> bytes:
        """Identifies owner and content, so that a changed profile is never answered from an old index."""
        hashed = blake2b(digest_size=16)
        _feed(hashed, self.user_id)
        for d in self.documents:
            _feed(hashed, d.id, d.text, d.date or "", d.title or "")
            if d.speaker or d.session or d.meta:
                hashed.update(_NO_LENGTH)
                _feed(hashed, d.speaker or "", d.session or "", repr(d.meta))
        return hashed.digest()


_OPTIONAL = ("date", "title", "speaker", "session")
_NO_LENGTH = b"\xff" * 8  # in place of a length: tells what a conversation adds to a document from the next document


def _feed(hashed: blake2b, *parts: str) -> None:
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "little") + data)


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing the user needs covered; phrases and documents are known only where the data set made them."""

    title: str
    reason: str = ""
    evidence: str = ""
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()  # ids of the profile documents that this aspect rests on
    sessions: tuple[str, ...] = ()  # the sessions that it rests on
    unresolved: tuple[str, ...] = ()  # names of evidence that the data set gives and none of its documents has


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a good answer holds: for scoring only, never shown to a policy."""

    narrative: str = ""
    aspects: tuple[Aspect, ...] = ()
    reference: str | None = None
    hops: int | None = None  # how many searches the answer needs, where known
    history: HistoryUse | None = None  # where known


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
