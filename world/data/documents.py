"""Writes a user's documents: entries are added in any order and sorted by date."""

from datetime import date, timedelta
from functools import cache

from ...envs.question import Document
from .rng import Rng
from .tables import Tables

_DAYS = 1500  # between the first and the last entry
_FIRST, _STARTS = date(2018, 1, 1), 700  # number of possible start days
_MAX_WAIT = 30  # days from the last entry to a question
_MIN_WORDS = 8  # an entry with fewer gets small talk


class DocumentWriter:
    """Collects entries, with small talk that makes each unique, and turns them into dated documents."""

    def __init__(self, rng: Rng, tables: Tables) -> None:
        self._rng, self._tables = rng, tables
        self._entries: list[tuple[float, int, str]] = []  # when, from 0 to 1; number; text
        self._texts: set[str] = set()
        self._start = rng.below(_STARTS)

    def __len__(self) -> int:
        return len(self._entries)

    def write(self, text: str, when: float | None = None) -> int:
        """Adds an entry and returns its number."""
        text = self._with_small_talk(text[0].upper() + text[1:])
        self._texts.add(text)
        self._entries.append((self._rng.random() if when is None else when, len(self._entries), text))
        return len(self._entries) - 1

    def two_times(self) -> tuple[float, float]:
        """An earlier and a later time, on different days."""
        first, second = sorted((self._rng.random(), self._rng.random()))
        return (first, second) if int(first * _DAYS) < int(second * _DAYS) else self.two_times()

    def finish(self) -> dict[int, Document]:
        """Entry number -> document, in time order; ids are positions."""
        dates, ids = _dates(), _ids(len(self._entries))
        return {
            number: Document(ids[position], text, dates[self._start + int(when * _DAYS)])
            for position, (when, number, text) in enumerate(sorted(self._entries))
        }

    def question_date(self) -> str:
        """A day after the last entry."""
        return _dates()[self._start + _DAYS + self._rng.below(_MAX_WAIT)]

    def _with_small_talk(self, text: str) -> str:
        rng, tables, long = self._rng, self._tables, text.count(" ") + 1 >= _MIN_WORDS
        while True:
            form = rng.random()
            if form < 0.3:
                candidate = text
            elif form < 0.8:
                candidate = f"{text} {rng.choice(tables.tails)}"
            else:
                candidate = f"{rng.choice(tables.openers)} {text}"
            if candidate not in self._texts and (long or form >= 0.3):
                return candidate


@cache
def _dates() -> tuple[str, ...]:
    return tuple((_FIRST + timedelta(days)).isoformat() for days in range(_STARTS + _DAYS + _MAX_WAIT))


@cache
def _ids(count: int) -> tuple[str, ...]:
    return tuple(f"d{position:03d}" for position in range(count))
