"""Replaces words in questions, posts and quotes at random, so that the model reads them instead of memorising."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial
from random import Random

from ...agents.posts_shown import posts_shown
from ...envs.question import Question
from ...envs.trajectory import Segment
from ..data import gold_queries
from ..data.names import NAME
from .reading import NEWER, NOTHING, NOTHING_YET, OLDER

_SENTENCE = re.compile(r"(?<=[.\]]) ")
_WORD = re.compile(r"[A-Za-z']+")
_READ = re.compile(r"(?m)^\d+\. \[[\d-]+\] .*|(?<=^Question: ).*")
_SAID = re.compile(r"(?s)(?<=<think>).*?(?=</think>)|(?<=<search>).*?(?=</search>)")


def _words_of(*texts: str) -> set[str]:
    """Lower-case words without names."""
    return {word.lower() for text in texts for word in _WORD.findall(NAME.sub("", text))}


_FIXED = {"i", "my", *_words_of(NOTHING, NOTHING_YET, NEWER, OLDER)}


class Rewording:
    """Draws substitutes for words, consistent from a transcript's question to its last quote.

    Words that determine the queries or the answer are kept: names, whose post it is, query words, and values.
    """

    def __init__(self, transcripts: Iterable[Sequence[Segment]], asked: float) -> None:
        self._asked = asked  # largest share of the question's own words
        self._words = sorted({word for said in transcripts for word in _words_of(*posts_shown(said))})

    def apply(self, transcript: Sequence[Segment], question: Question, rng: Random) -> list[Segment]:
        """Replace a random share of the posts' words, and a fraction of that share of the question's own words."""
        share = rng.random()
        fixed = _FIXED | _decisive(question)
        posts = _words_of(*posts_shown(transcript)) - fixed
        asked = _words_of(question.text) - posts - fixed
        others = {
            word: self._other(fixed, rng)
            for words, likely in ((posts, share), (asked, share * self._asked))
            for word in sorted(words)
            if rng.random() < likely
        }
        reworded = [_with(others, segment) for segment in transcript]
        return _in_other_order(reworded, question, rng) if rng.random() < share else reworded

    def _other(self, fixed: Set[str], rng: Random) -> str:
        while (word := rng.choice(self._words)) in fixed:
            pass
        return word


def _decisive(question: Question) -> set[str]:
    values = [phrase for aspect in question.rubric.aspects for phrase in (*aspect.accepted, *aspect.rejected)]
    common = () if question.rubric.hops else (question.text,)  # all words matter for the answer
    return _words_of(*gold_queries(question.id), *values, *common)


def _with(others: Mapping[str, str], segment: Segment) -> Segment:
    text = _places(segment).sub(lambda found: _WORD.sub(partial(_other_of, others), found[0]), segment.text)
    return Segment(segment.author, text)


def _places(segment: Segment) -> re.Pattern[str]:
    return _SAID if segment.author == "policy" else _READ


def _in_other_order(transcript: Sequence[Segment], question: Question, rng: Random) -> list[Segment]:
    """Shuffle each sentence's words, so that a value is recognised by its words and not by its position."""
    values = sorted((phrase for aspect in question.rubric.aspects for phrase in aspect.accepted), key=len, reverse=True)
    part = re.compile("|".join([*(rf"{re.escape(value)}\b" for value in values), r"\S+"]))
    sentences = {sentence.rstrip(".") for post in posts_shown(transcript) for sentence in _SENTENCE.split(post)}
    orders = {}
    for sentence in sorted(sentences, key=lambda one: (-len(one), one)):  # deterministic
        words = part.findall(sentence)
        orders[sentence] = " ".join(rng.sample(words, len(words)))
    any_of_them = re.compile("|".join(map(re.escape, orders)) or r"(?!)")
    return [
        Segment(one.author, _places(one).sub(lambda said: any_of_them.sub(lambda s: orders[s[0]], said[0]), one.text))
        for one in transcript
    ]


def _other_of(others: Mapping[str, str], found: re.Match[str]) -> str:
    word = found[0]
    other = others.get(word.lower(), word)
    return other.capitalize() if word[0].isupper() else other
