"""Weighted sums of rewards, and the rewards of published methods."""

import re
from asyncio import gather
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar, NamedTuple

from ..envs.episode import Episode
from ..envs.reward import Reward, RewardFunction, score_async
from ..errors import OptionError, RewardError
from .format import checked_amount, penalty, structure_reward, tag_format, tag_set
from .judge import Judge, score
from .registry import REWARD_MODELS, make_reward
from .text_metrics import rouge

RewardModel = Callable[[Sequence[Episode]], Sequence[float]]
_TERM = re.compile(r"(?:^|\+)(-?\d+(?:\.\d+)?)\*")  # a weight starts a term, so that a term may contain a plus


class Term(NamedTuple):
    name: str
    weight: float
    reward: RewardFunction


@dataclass(frozen=True)
class Compose:
    """The weighted sum of its terms, each a named part; unscored if any term is."""

    terms: tuple[Term, ...]
    parts_sum: ClassVar = True

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        batches = await gather(*(_rewards(term, episodes) for term in self.terms))
        return [self._sum(rewards) for rewards in zip(*batches, strict=True)]

    def _sum(self, rewards: Sequence[Reward]) -> Reward:
        verdict = next((reward.verdict for reward in rewards if reward.verdict), None)
        odd = next((reward.flags for reward in rewards if reward.flags), ())
        parts = {}
        for term, reward in zip(self.terms, rewards, strict=True):
            if reward.total is None:
                return Reward(None, verdict=verdict, unscored=f"{term.name}: {reward.unscored}", flags=odd)
            parts[term.name] = term.weight * reward.total
        return Reward(sum(parts.values()), parts, verdict, flags=odd)


def compose(spec: str) -> Compose:
    """A weighted sum from its spec, `1*score:rubric+0.5*structure`: a weight, a star and a reward per term."""
    before, *pieces = _TERM.split(spec)
    if before or not pieces:
        raise OptionError(
            f"compose:{spec!r} is no weighted sum: write WEIGHT*REWARD+…, as in 1*score:rubric+0.5*structure"
        )
    terms = [
        Term(of.partition(":")[0], float(weight), make_reward(of))
        for weight, of in zip(*[iter(pieces)] * 2, strict=True)
    ]
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise OptionError(f"compose:{spec!r} names a reward twice: give each once, as its name is the name of its part")
    return Compose(tuple(terms))


def pr2(judge: str | Judge = "rubric", *, penalty_amount: float = 0.5, **options: Any) -> Compose:
    """PR2's: the judge's score, minus 0.5 where the transcript breaks the grammar."""
    return Compose((Term("score", 1.0, score(judge, **options)), Term("penalty", 1.0, penalty(penalty_amount))))


def prlm(reward_model: str | RewardModel = "") -> Compose:
    """PrLM's: ROUGE-1 + ROUGE-2 + ROUGE-L + 0.1 × structure + 0.1 × the reward model's sigmoid."""
    return Compose(
        (
            Term("rouge", 1.0, rouge("1+2+L")),
            Term("structure", 0.1, structure_reward()),
            Term("personalisation", 0.1, personalisation(reward_model)),
        )
    )


def tagpr(
    task: str | RewardFunction = "rubric",
    *,
    prmu: str | RewardFunction = "",
    alpha: float = 0.1,
    beta: float = 0.1,
    gamma: float = 0.3,
) -> Compose:
    """TagPR's, as far as published: task × structure + alpha × tag_format + beta × tag_set + gamma × PRMU.

    Its second stage uses the task alone: `tagpr:TASK,alpha=0,beta=0,gamma=0`.
    """
    for name, weight in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        checked_amount(f"tagpr:{name}", weight)
    if gamma and not prmu:
        raise OptionError(
            "no PRMU was named: give a reward, or its spec, as in "
            "tagpr:score:rubric,prmu=personalisation:my_models.py:make, or leave that part out with gamma=0"
        )
    terms = [
        Term("task", 1.0, Gated(make_reward(task), structure_reward())),
        Term("tag_format", alpha, tag_format()),
        Term("tag_set", beta, tag_set()),
        Term("prmu", gamma, make_reward(prmu or "none")),
    ]
    return Compose(tuple(term for term in terms if term.weight))


@dataclass(frozen=True)
class Gated:
    """The product of a reward and a gate; unscored if either is, or if the reward is below 0."""

    reward: RewardFunction
    gate: RewardFunction
    parts_sum: ClassVar = True

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        terms = Term("reward", 1.0, self.reward), Term("gate", 1.0, self.gate)
        rewards, gates = await gather(*(_rewards(term, episodes) for term in terms))
        return [self._product(*pair) for pair in zip(rewards, gates, strict=True)]

    def _product(self, reward: Reward, gate: Reward) -> Reward:
        if reward.total is None or gate.total is None:
            return Reward(None, verdict=reward.verdict, unscored=reward.unscored or gate.unscored, flags=reward.flags)
        if reward.total < 0:
            reason = f"a reward of {reward.total:g} cannot be gated, as a closed gate would be better"
            return Reward(None, verdict=reward.verdict, unscored=reason, flags=reward.flags)
        total = reward.total * gate.total
        return Reward(total, {"gated": total}, reward.verdict, flags=reward.flags)


@dataclass(frozen=True)
class Personalisation:
    """The sigmoid of a reward model's output for each episode."""

    model: RewardModel
    parts_sum: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        values = [_sigmoid(float(logit)) for logit in self.model(episodes)]
        return [Reward(value, {"personalisation": value}) for value in values]


def personalisation(reward_model: str | RewardModel = "") -> Personalisation:
    if not reward_model:
        raise OptionError(
            "no reward model was named: give a callable over episodes, or its spec, "
            "as in prlm:my_models.py:make (a factory of one)"
        )
    return Personalisation(REWARD_MODELS.make(reward_model) if isinstance(reward_model, str) else reward_model)


async def _rewards(term: Term, episodes: Sequence[Episode]) -> Sequence[Reward]:
    rewards = await score_async(term.reward, episodes)
    if len(rewards) != len(episodes):
        raise RewardError(f"{term.name} gave {len(rewards)} rewards for {len(episodes)} episodes")
    return rewards


def _sigmoid(logit: float) -> float:
    """Overflows for no logit."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))
