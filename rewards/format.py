"""Rewards for the form of a transcript: the grammar of its protocol, and TagPR's tagged steps of thinking."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import ClassVar

from ..envs.episode import Episode
from ..envs.grammar import structure
from ..envs.reward import Reward
from ..envs.tagpr_tags import tagged
from ..errors import OptionError


@dataclass(frozen=True)
class FormatReward:
    """`good` for a transcript that passes the check, `bad` for any other."""

    name: str
    passes: Callable[[Episode], bool]
    good: float = 1.0
    bad: float = 0.0
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        value = self.good if self.passes(episode) else self.bad
        return Reward(value, {self.name: value})


def structure_reward() -> FormatReward:
    """1 where the transcript follows the grammar of its protocol, else 0."""
    return FormatReward("structure", _follows_grammar)


def penalty(amount: float = 0.5) -> FormatReward:
    """PR2's structure penalty: minus `amount` where the transcript breaks the grammar, else 0."""
    return FormatReward("penalty", _follows_grammar, 0.0, -checked_amount("penalty:amount", amount))


def tag_format() -> FormatReward:
    """TagPR's: 1 where all thinking is inside known tags, else 0."""
    return FormatReward("tag_format", _well_formed)


def tag_set(least: int = 3, most: int = 2) -> FormatReward:
    """TagPR's: 1 where it also uses at least `least` kinds of tags, each at most `most` times, else 0."""
    return FormatReward("tag_set", partial(_varied, least, most))


def checked_amount(option: str, value: object) -> float:
    """What an option of a reward takes off or weighs: below 0 it would reward what it is to discourage."""
    try:
        amount = float(str(value))
    except ValueError:
        amount = -1.0
    if not 0 <= amount < inf:
        raise OptionError(f"{option}={value!r}: give a number of at least 0")
    return amount


def _follows_grammar(episode: Episode) -> bool:
    return structure(episode.segments, episode.prompt_name, episode.cites is not None).ok


def _well_formed(episode: Episode) -> bool:
    return tagged(episode.segments).problem is None


def _varied(least: int, most: int, episode: Episode) -> bool:
    found = tagged(episode.segments)
    counts = Counter(found.steps)
    return found.problem is None and len(counts) >= least and max(counts.values()) <= most
