"""Finds rewards, judges and reward models by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._util.registry import Registry
from ..envs.reward import RewardFunction, no_reward

if TYPE_CHECKING:
    from .judge import Judge

REWARDS = Registry(
    "reward",
    {
        "none": "profilegym.rewards.registry:none",
        "rubric": "profilegym.rewards.rubric:RubricReward",
        "score": "profilegym.rewards.judge:score",
        "structure": "profilegym.rewards.format:structure_reward",
        "penalty": "profilegym.rewards.format:penalty",
        "match": "profilegym.rewards.label_metrics:match",
        "mae": "profilegym.rewards.label_metrics:rating",
        "rouge": "profilegym.rewards.text_metrics:rouge",
        "bleu": "profilegym.rewards.text_metrics:bleu",
        "meteor": "profilegym.rewards.text_metrics:meteor",
        "f1": "profilegym.rewards.answer_metrics:f1",
        "exact": "profilegym.rewards.answer_metrics:exact",
        "contains": "profilegym.rewards.answer_metrics:contains",
        "abstain": "profilegym.rewards.answer_metrics:Abstain",
        "evidence": "profilegym.rewards.search_metrics:Evidence",
        "citations": "profilegym.rewards.search_metrics:Citations",
        "cost": "profilegym.rewards.search_metrics:Cost",
        "personalisation": "profilegym.rewards.compose:personalisation",
        "compose": "profilegym.rewards.compose:compose",
        "pr2": "profilegym.rewards.compose:pr2",
        "prlm": "profilegym.rewards.compose:prlm",
        "tagpr": "profilegym.rewards.compose:tagpr",
        "tag_format": "profilegym.rewards.format:tag_format",
        "tag_set": "profilegym.rewards.format:tag_set",
    },
)
JUDGES = Registry(
    "judge",
    {"openai": "profilegym.registration:openai_judge", "rubric": "profilegym.rewards.rubric:RubricJudge"},
    ("name", "score", "score_many"),
)
REWARD_MODELS = Registry(
    "reward model", {"hf": "profilegym.rewards.reward_model:load", "prmu": "profilegym.rewards.prmu:load"}
)


def make_reward(spec: str | RewardFunction) -> RewardFunction:
    """The reward that a spec names, such as `compose:1*score:rubric+0.1*structure`; a callable is returned as it is."""
    if not isinstance(spec, str):
        return spec
    if spec.startswith("compose:"):  # commas and options belong to its terms
        factory, terms = REWARDS.find(spec)
        composed: RewardFunction = factory(terms)
        return composed
    reward: RewardFunction = REWARDS.make(spec)
    return reward


def register_reward(name: str, factory: Callable[..., RewardFunction]) -> None:
    """Make `factory` available as `reward="name"`."""
    REWARDS.register(name, factory)


def make_judge(spec: "str | Judge", **options: Any) -> "Judge":
    """The judge that a spec names; an object is returned as it is."""
    judge: Judge = JUDGES.make(spec, **options) if isinstance(spec, str) else spec
    return judge


def register_judge(name: str, factory: "Callable[..., Judge]") -> None:
    """Make `factory` available as `judge="name"` and `reward="score:name"`."""
    JUDGES.register(name, factory)


def none() -> RewardFunction:
    """No reward: every episode stays unscored, for users who score elsewhere."""
    return no_reward
