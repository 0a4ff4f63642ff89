"""Leaves out of a profile what gives its question away, by what the data set counts as a leak.

`question`: the question itself, its near-duplicates, and what is later than the question; a document that an aspect
names is evidence, and no near-duplicate. `strict`: also what holds the hidden narrative or the reference, evidence or
not. `later`: only what is later than the question. `none`: nothing.

A near-duplicate holds, within a stretch of twice the text's length, 80 % of the text's three-word runs. The text is
the question, the hidden narrative or the reference; one of fewer than five words is only compared as a whole.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import Literal, cast, get_args

from ..._util.words import folded, words
from ...errors import OptionError
from ..question import Document, Profile, Question

Leaks = Literal["question", "strict", "later", "none"]
SAME, NEAR, LATER = "same question", "near duplicate", "later than the question"
EVIDENCE = " (evidence)"  # after the reason, where an aspect names the document

_SHARE = 0.8  # of a text's runs that make a near-duplicate
_FEWEST_WORDS = 5
_RUN = 3
_STRETCH = 2  # times the text's own length


def read_leaks(word: object) -> Leaks:
    if word not in get_args(Leaks):
        raise OptionError(f"leaks={word}: give one of {', '.join(get_args(Leaks))}")
    return cast(Leaks, word)


def without_leaks(question: Question, leaks: Leaks = "strict") -> Question:
    """The question with a clean profile: the same object for all questions of a user that leave out the same."""
    if leaks == "none" or (leaks == "later" and not question.date):
        return question
    evidence = evidence_of(question)
    sought = list(_sought(question, leaks))
    why = []
    for document in question.profile.documents:
        leak = _leak(document, question, sought, leaks)
        if leak and document.id in evidence:
            leak = None if leaks == "question" and leak == NEAR else leak + EVIDENCE
        why.append(leak)
    if not any(why):
        return question
    return replace(question, profile=_view(question.profile, tuple(why)))


def _view(profile: Profile, why: tuple[str | None, ...]) -> Profile:
    """The documents for which there is no reason to leave them out."""
    if why not in profile.views:
        kept = tuple(document for document, leak in zip(profile.documents, why, strict=True) if not leak)
        profile.views[why] = Profile(profile.user_id, kept, Counter(filter(None, why)))
    return profile.views[why]


def evidence_of(question: Question) -> set[str]:
    """The ids of the documents that an aspect names."""
    return {document for aspect in question.rubric.aspects for document in aspect.documents}


def _sought(question: Question, leaks: Leaks) -> "Iterator[_Sought]":
    if leaks == "later":
        return
    yield from map(_Sought, dict.fromkeys((question.search_text, question.text)))
    if leaks == "strict":
        hidden = map(_Sought, (question.rubric.narrative, question.rubric.reference or ""))
        yield from (each for each in hidden if each.long)  # "[1]" is no giveaway


def _leak(document: Document, question: Question, sought: "list[_Sought]", leaks: Leaks) -> str | None:
    named_alike = document.id == question.id and not question.id.isdecimal()  # LaMP counts both from 0
    if named_alike and leaks != "later":
        return SAME
    if document.date and question.date and is_later(document.date, question.date):
        return LATER
    if not sought:
        return None
    text = folded(f"{document.title} {document.text}" if document.title else document.text)
    return next((leak for each in sought if (leak := each.leak_in(text))), None)


class _Sought:
    """A text that no document may hold. Nearly all documents are cleared by a few substring tests."""

    def __init__(self, text: str) -> None:
        self._words = words(folded(text))
        self._runs = set(_runs(self._words))
        self._needed = ceil(_SHARE * len(self._runs))
        self.long = len(self._words) >= _FEWEST_WORDS
        self._tests = self._words_to_test()

    def _words_to_test(self) -> list[tuple[str, int]]:
        """Words and how many runs each costs where it is lacking, no run twice; long ones first, as they are rare."""
        runs_of: dict[str, set[tuple[str, ...]]] = {word: set() for word in self._words}
        for run in self._runs:
            for word in run:
                runs_of[word].add(run)
        tests, counted = [], set[tuple[str, ...]]()
        for word in sorted(runs_of, key=len, reverse=True):
            if counted.isdisjoint(runs_of[word]):
                counted |= runs_of[word]
                tests.append((word, max(1, len(runs_of[word]))))  # a text of one or two words has no runs
        return tests

    def leak_in(self, text: str) -> str | None:
        if not self._may_be_in(text):
            return None
        found = words(text)
        if found == self._words:
            return SAME
        return NEAR if self.long and self._near(found) else None

    def _may_be_in(self, text: str) -> bool:
        to_lose = len(self._runs) - self._needed
        for word, runs in self._tests:
            if word not in text:
                to_lose -= runs
                if to_lose < 0:
                    return False
        return bool(self._words)

    def _near(self, words: list[str]) -> bool:
        """Whether some stretch of the words holds enough of the runs."""
        stretch = _STRETCH * len(self._words)
        found = [(place, run) for place, run in enumerate(_runs(words)) if run in self._runs]
        return any(
            len({run for place, run in found[first : first + stretch] if place < start + stretch}) >= self._needed
            for first, (start, _) in enumerate(found)
        )


def _runs(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)]


def is_later(date: str, than: str) -> bool:
    """Whether one ISO date is after another, as far as both are precise."""
    if "T" in date and "T" in than:
        return _moment(date) > _moment(than)
    length = min(len(date), len(than), len("2019-07-30"))
    return date[:length] > than[:length]


def _moment(date: str) -> datetime:
    moment = datetime.fromisoformat(date)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
