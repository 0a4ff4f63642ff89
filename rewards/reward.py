"""Where rewards are found by name."""

from collections.abc import Callable
from typing import Any

from ..envs.registry import Registry
from ..envs.stepping import RewardFunction, no_reward

_HERE = __name__.rpartition(".")[0]
REWARDS = Registry(
    "reward",
    {
        "none": f"{__name__}:none",
        "rubric": f"{_HERE}.rubric:RubricReward",
        "score": f"{_HERE}.score:score",
        "gain": f"{_HERE}.gain:gain",
        "lift": f"{_HERE}.gain:lift",
        "win": f"{_HERE}.gain:win",
        "structure": f"{_HERE}.structure:kept",
        "penalty": f"{_HERE}.structure:penalty",
        "match": f"{_HERE}.labels:match",
        "mae": f"{_HERE}.labels:rating",
        "rouge": f"{_HERE}.overlap:rouge",
        "bleu": f"{_HERE}.overlap:bleu",
        "meteor": f"{_HERE}.overlap:meteor",
        "evidence": f"{_HERE}.evidence:Evidence",
        "cost": f"{_HERE}.evidence:Cost",
        "personalisation": f"{_HERE}.compose:personalisation",
        "pr2": f"{_HERE}.compose:pr2",
        "prlm": f"{_HERE}.compose:prlm",
        "tagpr": f"{_HERE}.compose:tagpr",
        "tag_format": f"{_HERE}.tags:tag_format",
        "tag_set": f"{_HERE}.tags:tag_set",
    },
)


def make_reward(spec: str | RewardFunction) -> Any:
    """The reward that a spec names, `compose:1*score:rubric+0.1*structure` among them; a callable is one already."""
    if not isinstance(spec, str):
        return spec
    if spec.startswith("compose:"):  # its commas and options belong to its terms
        from .compose import compose

        return compose(spec.removeprefix("compose:"))
    return REWARDS.make(spec)


def register_reward(name: str, factory: Callable[..., RewardFunction]) -> None:
    """Make `factory` available as `reward="name"`."""
    REWARDS.register(name, factory)


def none() -> RewardFunction:
    """For users who score elsewhere."""
    return no_reward
