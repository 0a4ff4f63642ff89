"""Rewards of searches: evidence found, and cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2
from typing import ClassVar, Literal, NamedTuple, get_args

from ..envs.data.leaks import evidence_of
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.reward import Reward
from ..errors import OptionError

Measure = Literal["recall", "precision", "ndcg"]
Unit = Literal["document", "session"]


class Found(NamedTuple):
    """How much evidence the documents hold that an episode showed; all 0 where it showed none."""

    recall: float
    precision: float
    ndcg: float  # in the order shown, relative to all evidence first


@dataclass(frozen=True)
class Evidence:
    """A measure of the evidence that the searches returned; unscored where none is known."""

    measure: Measure = "recall"
    by: Unit = "document"
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __post_init__(self) -> None:
        for name, kind in (("measure", Measure), ("by", Unit)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise OptionError(f"evidence:{name}={value!r}: give one of {', '.join(get_args(kind))}")

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        shown = (document for search in episode.searches for document, _ in search.hits)
        found = evidence_found(episode.question, shown, self.by)
        if found is None:
            reason = f"no aspect of question {episode.question.id!r} names its evidence {self.by}s"
            return Reward(None, unscored=reason)
        value: float = getattr(found, self.measure)
        return Reward(value, {"evidence": value})


@dataclass(frozen=True)
class Cost:
    """Minus a cost for each search and for each document shown."""

    search: float = 0.0
    hit: float = 0.0
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        searches = episode.searches
        parts = {
            "searches": 0.0 - self.search * len(searches),
            "hits": 0.0 - self.hit * sum(len(search.hits) for search in searches),
        }
        return Reward(sum(parts.values()), parts)


def evidence_found(question: Question, shown: Iterable[str], by: Unit = "document") -> Found | None:
    """`shown`: ids of documents in their order. None where the question names no evidence.

    Another user's documents are no evidence, whatever their ids.
    """
    wanted = evidence_of(question) if by == "document" else _sessions_of(question)
    if not wanted:
        return None
    own = shown if question.profile.user_id == question.user_id else ()
    ranked = list(dict.fromkeys(own if by == "document" else _in_sessions(question, own)))
    ranks = [rank for rank, name in enumerate(ranked) if name in wanted]
    if not ranks:
        return Found(0.0, 0.0, 0.0)
    return Found(len(ranks) / len(wanted), len(ranks) / len(ranked), _gain(ranks) / _gain(range(len(wanted))))


def _gain(ranks: Iterable[int]) -> float:
    return sum(1 / log2(rank + 2) for rank in ranks)


def _sessions_of(question: Question) -> set[str]:
    return {session for aspect in question.rubric.aspects for session in aspect.sessions}


def _in_sessions(question: Question, documents: Iterable[str]) -> Iterable[str]:
    by_id = question.profile.by_id
    return (by_id[name].session or name for name in documents if name in by_id)
