"""Rewards of searches: evidence found, evidence cited, and cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

from ..envs.data.leaks import evidence_of
from ..envs.episode import INITIAL_SEARCH_TURN, Episode
from ..envs.question import Question
from ..envs.reward import Reward
from ..envs.trajectory import Search
from ..errors import OptionError
from .format import checked_amount
from .ranking import ndcg, precision, recall

Measure = Literal["recall", "precision", "ndcg"]
Unit = Literal["document", "session"]
CiteMeasure = Literal["precision", "recall", "f1"]


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
        _require_one_of("evidence", "measure", self.measure, get_args(Measure))
        _require_one_of("evidence", "by", self.by, get_args(Unit))

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


class Cited(NamedTuple):
    """How well the documents that an answer names are the evidence; all 0 where it names none."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Citations:
    """A measure of the documents that the answer names; unscored where no evidence is known, or nothing was asked."""

    measure: CiteMeasure = "f1"
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __post_init__(self) -> None:
        _require_one_of("citations", "measure", self.measure, get_args(CiteMeasure))

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        if episode.cites is None:
            return Reward(None, unscored="the episode asks for no citations: play with cites=true")
        cited = evidence_cited(episode.question, episode.cites, episode.searches)
        if cited is None:
            return Reward(None, unscored=f"no aspect of question {episode.question.id!r} names its evidence documents")
        value: float = getattr(cited, self.measure)
        return Reward(value, {"citations": value})


@dataclass(frozen=True)
class Cost:
    """Minus a cost for each search, for each document shown, and for each call by the episode's `costs`."""

    search: float = 0.0
    hit: float = 0.0
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __post_init__(self) -> None:
        for name in ("search", "hit"):  # of a spec, the first option may be a text
            object.__setattr__(self, name, checked_amount(f"cost:{name}", getattr(self, name)))

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        searches = episode.searches
        parts = {
            "searches": 0.0 - self.search * len(searches),
            "hits": 0.0 - self.hit * sum(len(search.hits) for search in searches),
        }
        if episode.costs:
            called = [search.tool or "search_profile" for search in searches if search.turn != INITIAL_SEARCH_TURN]
            parts["calls"] = 0.0 - sum(episode.costs.get(name, 0.0) for name in called)
        return Reward(sum(parts.values()), parts)


def evidence_found(question: Question, shown: Iterable[str], by: Unit = "document") -> Found | None:
    """`shown`: ids of documents in their order. None where the question names no evidence.

    Another user's documents are no evidence, whatever their ids.
    """
    wanted = evidence_by(question, by)
    if not wanted:
        return None
    own = shown if question.profile.user_id == question.user_id else ()
    ranked = units(question, own, by)
    length = max(len(ranked), len(wanted))
    return Found(recall(ranked, wanted, length), precision(ranked, wanted, length), ndcg(ranked, wanted, length))


def evidence_cited(question: Question, cites: Iterable[str], searches: Iterable[Search]) -> Cited | None:
    """Only documents that a search showed count; others lower the precision. None where no evidence is known."""
    wanted = evidence_of(question)
    if not wanted:
        return None
    shown = {document for search in searches for document, _ in search.hits}
    own = shown if question.profile.user_id == question.user_id else set()
    named = set(cites)
    right = len(named & own & wanted)
    if not right:
        return Cited(0.0, 0.0, 0.0)
    return Cited(right / len(named), right / len(wanted), 2 * right / (len(named) + len(wanted)))


def _require_one_of(reward: str, option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise OptionError(f"{reward}:{option}={value!r}: give one of {', '.join(known)}")


def evidence_by(question: Question, by: Unit) -> set[str]:
    """The documents, or the sessions, that the aspects name."""
    if by == "document":
        return evidence_of(question)
    return {session for aspect in question.rubric.aspects for session in aspect.sessions}


def units(question: Question, shown: Iterable[str], by: Unit) -> list[str]:
    """The documents, or their sessions, in the order in which they are first shown."""
    return list(dict.fromkeys(shown if by == "document" else _sessions(question, shown)))


def _sessions(question: Question, documents: Iterable[str]) -> Iterable[str]:
    by_id = question.profile.by_id
    return (by_id[name].session or name for name in documents if name in by_id)
