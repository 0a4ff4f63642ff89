"""Rewards of searches: evidence found, and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..envs.episode import Episode
from ..envs.reward import Reward


@dataclass(frozen=True)
class Evidence:
    """The share of the evidence documents that some search returned; unscored where none is known."""

    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [_recall(episode) for episode in episodes]


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


def _recall(episode: Episode) -> Reward:
    wanted = {document for aspect in episode.question.rubric.aspects for document in aspect.documents}
    if not wanted:
        return Reward(None, unscored=f"no aspect of question {episode.question.id!r} names its evidence documents")
    found = {document for search in episode.searches for document, _ in search.hits}
    recall = len(wanted & found) / len(wanted)
    return Reward(recall, {"evidence": recall})
