"""Token F1, exact match, containment and abstention, as LoCoMo evaluates short answers."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import ClassVar

from ..envs.data.locomo import CATEGORIES
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.reward import Reward
from ..errors import MissingExtra
from .label_metrics import ByReference

# The phrases by which LoCoMo's evaluation takes an answer to say that the conversation does not tell.
DECLINING = ("no information available", "not mentioned")
MULTI_HOP, OPEN_DOMAIN = CATEGORIES[1], CATEGORIES[3]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the|and)\b")
Similarity = Callable[[str, str], float]  # of an answer and its reference


@dataclass(frozen=True)
class AnswerReward:
    """Compares an answer with its reference; where the question cannot be answered, 1 if the answer declines.

    Of LoCoMo's open-domain references only what stands before a semicolon counts, as published.
    """

    name: str
    similarity: Similarity
    multi_hop: Similarity | None = None  # in its place for LoCoMo's multi-hop questions
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        question = episode.question
        if question.rubric.history == "unanswerable":
            value = float(declines(episode.answer or ""))
            return Reward(value, {"abstain": value})
        return ByReference(lambda answer, reference: {self.name: self.score(question, answer, reference)})([episode])[0]

    def score(self, question: Question, answer: str, reference: str) -> float:
        if question.category == MULTI_HOP and self.multi_hop:
            return self.multi_hop(answer, reference)
        if question.category == OPEN_DOMAIN:
            reference = reference.partition(";")[0]
        return self.similarity(answer, reference)


@dataclass(frozen=True)
class Abstain:
    """1 where an answer declines exactly if the question cannot be answered; unscored where that is not known."""

    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [_abstention(episode) for episode in episodes]


def f1() -> AnswerReward:
    """LoCoMo's token F1; of a multi-hop question, the mean over the parts of its reference between commas."""
    _stemmer()  # raises where it is not installed
    return AnswerReward("f1", token_f1, multi_hop=parts_f1)


def exact() -> AnswerReward:
    """1 where answer and reference have the same words, whatever their order."""
    return AnswerReward("exact", _same_words)


def contains() -> AnswerReward:
    """1 where the answer holds the words of the reference in their order."""
    return AnswerReward("contains", _contained)


def token_f1(answer: str, reference: str) -> float:
    """The F1 of the stemmed words that both have; a word counts as often as it occurs in both."""
    given, wanted = _stems(answer), _stems(reference)
    same = (given & wanted).total()
    if not same:
        return 0.0
    precision, recall = same / given.total(), same / wanted.total()
    return 2 * precision * recall / (precision + recall)  # rounded as in the published script


def parts_f1(answer: str, reference: str) -> float:
    """For each part of the reference the best part of the answer, where commas part both."""
    parts = answer.split(",")
    return fmean(max(token_f1(part, wanted) for part in parts) for wanted in reference.split(","))


def declines(answer: str) -> bool:
    """Whether the answer says in one of the published phrases that it cannot be known."""
    text = answer.lower()
    return any(phrase in text for phrase in DECLINING)


def mentions(answer: str, phrases: Sequence[str]) -> bool:
    """Whether the answer holds the words of one of the phrases."""
    text = _spaced(answer)
    return any(sought.strip() and sought in text for sought in map(_spaced, phrases))


def _same_words(answer: str, reference: str) -> float:
    wanted = set(words(reference))
    return float(set(words(answer)) == wanted if wanted else _same_text(answer, reference))


def _contained(answer: str, reference: str) -> float:
    return float(mentions(answer, (reference,)) if words(reference) else _same_text(answer, reference))


def _same_text(answer: str, reference: str) -> bool:
    """How a reference without a word, such as the choice "A" or a sign, is compared; nothing equals no answer."""
    wanted = _bare(reference)
    return bool(wanted) and _bare(answer) == wanted


def _bare(text: str) -> str:
    """Lower-case text without punctuation around it, unless it is nothing else."""
    return text.lower().strip(string.punctuation + string.whitespace) or text.strip()


def _abstention(episode: Episode) -> Reward:
    question = episode.question
    if question.rubric.history is None:
        return Reward(None, unscored=f"it is not known whether question {question.id!r} can be answered")
    right = float(declines(episode.answer or "") == (question.rubric.history == "unanswerable"))
    return Reward(right, {"abstain": right})


def words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles; "and" counts as one."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _spaced(text: str) -> str:
    """Words between single spaces, so that a search for them respects their boundaries."""
    return f" {' '.join(words(text))} "


def _stems(text: str) -> Counter[str]:
    stem = _stemmer()
    return Counter(map(stem, words(text)))


@lru_cache(1)
def _stemmer() -> Callable[[str], str]:
    """NLTK's own variant of Porter's stemmer, which LoCoMo's script uses; Lucene's in `envs/retrieval` differs."""
    try:
        from nltk.stem.porter import PorterStemmer
    except ImportError as error:
        raise MissingExtra("F1", "metrics") from error
    return lru_cache(65_536)(PorterStemmer().stem)
