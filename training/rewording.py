"""Other words in a question and in posts, and in what is quoted from them: to be read, not learned by heart."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial
from random import Random

from ..agents.models.oracle import posts_shown
from ..envs.data.world import plan_of
from ..envs.data.world.names import NAME
from ..envs.question import Question
from ..envs.trajectory import Segment
from .demonstrations import NO_HELP, NOTHING_YET

_WORD = re.compile(r"[A-Za-z']+")
_READ = re.compile(r"(?m)^\d+\. \[[\d-]+\] .*|(?<=^Question: ).*")
_SAID = re.compile(r"(?s)(?<=<think>).*?(?=</think>)|(?<=<search>).*?(?=</search>)")


def _words_of(*texts: str) -> set[str]:
    """In small letters, and without names."""
    return {word.lower() for text in texts for word in _WORD.findall(NAME.sub("", text))}


_FIXED = {"i", "my", *_words_of(NOTHING_YET), *_words_of(NO_HELP)}


class Rewording:
    """Draws words that stand for others, the same from a transcript's question to its last quote.

    What decides where to look and what to say is left as it is: names, whose post it is, the words of the queries
    that the question takes, and the values that could answer.
    """

    def __init__(self, transcripts: Iterable[Sequence[Segment]], most: float) -> None:
        self._words = sorted({word for said in transcripts for word in _words_of(*posts_shown(said))})
        self._most = most

    def apply(self, transcript: Sequence[Segment], question: Question, luck: Random) -> list[Segment]:
        """Up to a share of `most` of the posts' words, half as many of the question's; each transcript has its own."""
        share = luck.random() * self._most
        fixed = _FIXED | _decisive(question)
        posts = _words_of(*posts_shown(transcript)) - fixed
        asked = _words_of(question.text) - posts - fixed
        others = {
            word: self._other(fixed, luck)
            for words, likely in ((posts, share), (asked, share / 2))
            for word in sorted(words)
            if luck.random() < likely
        }
        return [_with(others, segment) for segment in transcript]

    def _other(self, fixed: Set[str], luck: Random) -> str:
        while (word := luck.choice(self._words)) in fixed:
            pass
        return word


def _decisive(question: Question) -> set[str]:
    values = [phrase for aspect in question.rubric.aspects for phrase in (*aspect.accepted, *aspect.rejected)]
    common = () if question.rubric.hops else (question.text,)  # all of it says what the answer is
    return _words_of(*plan_of(question.id), *values, *common)


def _with(others: Mapping[str, str], segment: Segment) -> Segment:
    part = _SAID if segment.author == "policy" else _READ
    text = part.sub(lambda found: _WORD.sub(partial(_other_of, others), found[0]), segment.text)
    return Segment(segment.author, text)


def _other_of(others: Mapping[str, str], found: re.Match[str]) -> str:
    word = found[0]
    other = others.get(word.lower(), word)
    return other.capitalize() if word[0].isupper() else other
