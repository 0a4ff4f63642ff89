"""The history after a game: its posts by number, what searches showed, and what holds evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...envs.question import Document
from ...errors import EpisodeError
from .game import Game

REACH = 2  # posts before and after one


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One post. `aspects`: those it holds evidence for; `shown`: whether a search showed it."""

    document: Document
    shown: bool
    aspects: tuple[str, ...]

    @property
    def text(self) -> str:
        marks = [*["evidence"] * bool(self.aspects), *["shown"] * self.shown]
        told = f"{self.document.id} ({', '.join(marks)})" if marks else self.document.id
        return " ".join(f"{told} {self.document.head}{self.document.text}".split())

    def has(self, words: str) -> bool:
        text = self.text.casefold()
        return all(word in text for word in words.casefold().split())


def history(game: Game) -> list[HistoryRow]:
    """All posts of the profile that was searched, in their order. Raises while the game is on."""
    aspects: dict[Document | None, list[str]] = {}
    for evidence in game.evidence():
        aspects.setdefault(evidence.document, []).append(evidence.aspect)
    return [
        HistoryRow(document, game.has_shown(document), tuple(aspects.get(document, ())))
        for document in game.question.profile.documents
    ]


def around(rows: Sequence[HistoryRow], document_id: str) -> Iterator[HistoryRow]:
    """A post and its neighbours in its session."""
    place = next((place for place, row in enumerate(rows) if row.document.id == document_id), None)
    if place is None:
        raise EpisodeError(f"the history has no post {document_id!r}: find WORDS lists posts with their ids")
    session = rows[place].document.session
    near = rows[max(0, place - REACH) : place + REACH + 1]
    return (row for row in near if row.document.session == session)
