"""Answers held against the reference of their question."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..envs.episode import Episode
from ..envs.reward import Reward

Measure = Callable[[str, str], Mapping[str, float]]  # of an answer and its reference


@dataclass(frozen=True)
class ByReference:
    """The sum of what is measured; an answer whose question has no reference stays unscored."""

    measure: Measure
    parts_sum: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        reference = episode.question.rubric.reference
        if reference is None:
            return Reward(
                None, unscored=f"question {episode.question.id!r} has no reference to hold the answer against"
            )
        parts = self.measure((episode.answer or "").strip(), reference.strip())
        return Reward(sum(parts.values()), parts)
