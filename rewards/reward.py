"""Where rewards are found by name."""

from collections.abc import Callable, Sequence
from typing import Any

from ..envs.episode import Episode
from ..envs.registry import Registry
from ..envs.reward import Reward
from ..envs.stepping import RewardFunction, no_reward

REWARDS = Registry("reward", {"none": f"{__name__}:none", "rubric": f"{__name__}:rubric"})


def make_reward(spec: str | RewardFunction) -> Any:
    """The reward that a spec names; a callable is one already."""
    return REWARDS.make(spec) if isinstance(spec, str) else spec


def register_reward(name: str, factory: Callable[..., RewardFunction]) -> None:
    """Make `factory` available as `reward="name"`."""
    REWARDS.register(name, factory)


def none() -> RewardFunction:
    """For users who score elsewhere."""
    return no_reward


def rubric() -> RewardFunction:
    """The world's own exact checker."""
    from .rubric import RubricJudge

    judge = RubricJudge()

    def score(episodes: Sequence[Episode]) -> list[Reward]:
        verdicts = [judge.score(episode.question, episode.answer or "") for episode in episodes]
        return [Reward(verdict.score, {"score": verdict.score}, verdict) for verdict in verdicts]

    return score
