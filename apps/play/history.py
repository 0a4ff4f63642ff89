"""The history after a game: its posts by number, what searches showed, and what holds evidence."""

from dataclasses import dataclass

from ...envs.question import Document
from .game import Game


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
