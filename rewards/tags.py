"""TagPR's tag constraints, as rewards: whether the thinking is a row of tagged steps, and of enough kinds."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ..envs.episode import Episode
from ..envs.reward import Reward
from ..envs.tagpr_tags import Tagged, tagged


@dataclass(frozen=True)
class Tagging:
    """1 where the steps are as they should be, else 0."""

    name: str
    good: Callable[[Tagged], bool]
    parts_sum: ClassVar = True
    runs_inline: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        values = [float(self.good(tagged(episode.segments))) for episode in episodes]
        return [Reward(value, {self.name: value}) for value in values]


def tag_format() -> Tagging:
    """All thinking stands inside known tags."""
    return Tagging("tag_format", _well_formed)


def tag_set(least: int = 3, most: int = 2) -> Tagging:
    """And in at least so many of them, none used more often than that: bare tags in a row earn nothing."""
    return Tagging("tag_set", partial(_varied, least, most))


def _varied(least: int, most: int, found: Tagged) -> bool:
    times = Counter(found.steps)
    return _well_formed(found) and len(times) >= least and max(times.values()) <= most


def _well_formed(found: Tagged) -> bool:
    return found.problem is None
