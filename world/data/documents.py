"""What a person wrote over the years: entries gathered in any order, read in the order of their dates."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

from ...envs.question import Document
from .rng import Dice
from .tables import Tables

_DAYS = 1500  # that a diary spans
_FIRST, _STARTS = date(2018, 1, 1), 700  # a diary begins on one of these many days
_LONGEST_WAIT = 30  # days from the last entry to a question
_SHORTEST = 8  # words of an entry


class Diary:
    """Writes entries, dresses them with small talk so that no two are the same, and binds them into documents."""

    def __init__(self, dice: Dice, tables: Tables) -> None:
        self._dice, self._tables = dice, tables
        self._entries: list[tuple[float, int, str]] = []  # when, from 0 to 1; number; text
        self._texts: set[str] = set()
        self._start = dice.below(_STARTS)

    def __len__(self) -> int:
        return len(self._entries)

    def write(self, text: str, when: float | None = None) -> int:
        """Add an entry and return its number."""
        text = self._dressed(text[0].upper() + text[1:])
        self._texts.add(text)
        self._entries.append((self._dice.roll() if when is None else when, len(self._entries), text))
        return len(self._entries) - 1

    def two_moments(self) -> tuple[float, float]:
        """An earlier and a later one, on different days."""
        first, second = sorted((self._dice.roll(), self._dice.roll()))
        return (first, second) if int(first * _DAYS) < int(second * _DAYS) else self.two_moments()

    def bind(self) -> "DatedDocuments":
        """The documents in time order; an id says only the position."""
        entries, dates, ids = sorted(self._entries), _dates(), _ids(len(self._entries))
        documents: list[Document] = []
        positions = [0] * len(entries)
        for position, (when, number, text) in enumerate(entries):
            documents.append(Document(ids[position], text, dates[self._start + int(when * _DAYS)]))
            positions[number] = position
        return DatedDocuments(tuple(documents), positions)

    def later_date(self) -> str:
        """A day after the last entry."""
        return _dates()[self._start + _DAYS + self._dice.below(_LONGEST_WAIT)]

    def _dressed(self, text: str) -> str:
        dice, tables, long = self._dice, self._tables, text.count(" ") + 1 >= _SHORTEST
        while True:
            form = dice.roll()
            if form < 0.3:
                dressed = text
            elif form < 0.8:
                dressed = f"{text} {dice.pick(tables.tails)}"
            else:
                dressed = f"{dice.pick(tables.openers)} {text}"
            if dressed not in self._texts and (long or form >= 0.3):
                return dressed


class DatedDocuments:
    """A finished diary, in which entries are still found by their numbers."""

    def __init__(self, documents: tuple[Document, ...], positions: Sequence[int]) -> None:
        self.documents, self._positions = documents, positions

    def __getitem__(self, entry: int) -> Document:
        return self.documents[self._positions[entry]]


@cache
def _dates() -> tuple[str, ...]:
    return tuple((_FIRST + timedelta(days)).isoformat() for days in range(_STARTS + _DAYS + _LONGEST_WAIT))


@cache
def _ids(count: int) -> tuple[str, ...]:
    return tuple(f"d{position:03d}" for position in range(count))
