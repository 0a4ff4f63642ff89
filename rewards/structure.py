"""Whether a transcript keeps to the grammar of tags, as a reward and as PR2's penalty."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..envs.episode import Episode
from ..envs.grammar import Structure, structure
from ..envs.reward import Reward

__all__ = ["FormatReward", "Structure", "kept", "penalty", "structure"]


@dataclass(frozen=True)
class FormatReward:
    """One number for a transcript that keeps to the grammar, another for one that does not."""

    name: str
    good: float
    bad: float
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        if episode.protocol != "tags":
            return Reward(None, unscored=f"the grammar is that of tags; episode {episode.id!r} used {episode.protocol}")
        value = self.good if structure(episode.segments).ok else self.bad
        return Reward(value, {self.name: value})


def kept() -> FormatReward:
    """1 or 0: PrLM's and Search-R1's format reward."""
    return FormatReward("structure", 1.0, 0.0)


def penalty(amount: float = 0.5) -> FormatReward:
    """PR2's: nothing, or the penalty taken off."""
    return FormatReward("penalty", 0.0, -float(amount))
