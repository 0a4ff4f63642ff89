"""Where rewards are found by name."""

from collections.abc import Callable

from .._util.registry import Registry
from ..envs.reward import RewardFunction, no_reward

REWARDS = Registry(
    "reward",
    {
        "none": "profilegym.rewards.registry:none",
        "rubric": "profilegym.rewards.rubric:RubricReward",
        "score": "profilegym.rewards.score:score",
        "structure": "profilegym.rewards.structure:kept",
        "penalty": "profilegym.rewards.structure:penalty",
        "match": "profilegym.rewards.label_metrics:match",
        "mae": "profilegym.rewards.label_metrics:rating",
        "rouge": "profilegym.rewards.text_metrics:rouge",
        "bleu": "profilegym.rewards.text_metrics:bleu",
        "meteor": "profilegym.rewards.text_metrics:meteor",
        "evidence": "profilegym.rewards.search_metrics:Evidence",
        "cost": "profilegym.rewards.search_metrics:Cost",
        "personalisation": "profilegym.rewards.compose:personalisation",
        "pr2": "profilegym.rewards.compose:pr2",
        "prlm": "profilegym.rewards.compose:prlm",
        "tagpr": "profilegym.rewards.compose:tagpr",
        "tag_format": "profilegym.rewards.tags:tag_format",
        "tag_set": "profilegym.rewards.tags:tag_set",
    },
)


def make_reward(spec: str | RewardFunction) -> RewardFunction:
    """The reward that a spec names, `compose:1*score:rubric+0.1*structure` among them; a callable is one already."""
    if not isinstance(spec, str):
        return spec
    if spec.startswith("compose:"):  # its commas and options belong to its terms
        from .compose import compose

        return compose(spec.removeprefix("compose:"))
    reward: RewardFunction = REWARDS.make(spec)
    return reward


def register_reward(name: str, factory: Callable[..., RewardFunction]) -> None:
    """Make `factory` available as `reward="name"`."""
    REWARDS.register(name, factory)


def none() -> RewardFunction:
    """For users who score elsewhere."""
    return no_reward
