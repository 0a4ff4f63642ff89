"""Reward, Verdict and AspectMatch, and what a reward function is. The reward functions are in `rewards`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import iscoroutinefunction
from math import isfinite
from numbers import Integral
from typing import TYPE_CHECKING, Any, SupportsFloat

from .._util.sync import in_thread, run_sync
from ..errors import RewardError

if TYPE_CHECKING:
    from .episode import Episode


@dataclass(frozen=True, slots=True)
class AspectMatch:
    """How well the answer covers one aspect: 0 not, 1 partly, 2 fully."""

    title: str
    match: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's result for one answer. `score` is the sum of the matches over twice the number of aspects."""

    judge: str
    score: float
    aspects: tuple[AspectMatch, ...]


@dataclass(slots=True)
class Reward:
    """`total` and its named parts. Where `total` is None, `unscored` says why."""

    total: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    unscored: str | None = None
    flags: tuple[str, ...] = ()  # signs that the answer addresses the judge; they never change a total


RewardFunction = Callable[[Sequence["Episode"]], Sequence[Reward] | Awaitable[Sequence[Reward]]]
_PLAIN = {int, float}
NOT_ASKED = Reward(None, unscored="no reward function was given")


def no_reward(episodes: "Sequence[Episode]") -> list[Reward]:
    """Leaves every episode unscored, for users who score elsewhere. The environment's reward is then 0."""
    return [NOT_ASKED] * len(episodes)


def plain_reward(reward: Reward) -> Reward:
    """With Python's numbers in place of NumPy's, as records hold them. `RewardError` where one is not finite."""
    verdict = None if reward.verdict is None else plain_verdict(reward.verdict)
    if verdict is reward.verdict and _are_plain(0 if reward.total is None else reward.total, *reward.parts.values()):
        return reward
    total = None if reward.total is None else _plain(reward.total, "total of a reward")
    parts = {name: _plain(part, f"part {name!r} of a reward") for name, part in reward.parts.items()}
    return replace(reward, total=total, parts=parts, verdict=verdict)


def plain_verdict(verdict: Verdict) -> Verdict:
    """As `plain_reward`, for a verdict."""
    if _are_plain(verdict.score, *[aspect.match for aspect in verdict.aspects]):
        return verdict
    aspects = tuple(replace(aspect, match=_plain(aspect.match, "match of an aspect")) for aspect in verdict.aspects)
    return replace(verdict, score=_plain(verdict.score, "score of a verdict"), aspects=aspects)


def _are_plain(*numbers: Any) -> bool:
    """The common case: a copy of a reward takes longer than a step of its episode."""
    return _PLAIN.issuperset(map(type, numbers)) and all(map(isfinite, numbers))


def _plain(number: Any, what: str) -> Any:
    if not isinstance(number, SupportsFloat) or not isfinite(number):
        raise RewardError(f"the {what} is {number!r}: give a finite number")
    return int(number) if isinstance(number, Integral) else float(number)


def rewards_of(rewards: Sequence[Reward] | Awaitable[Sequence[Reward]]) -> Sequence[Reward]:
    """The rewards that a reward function returned; waits for them where it is async."""
    if isinstance(rewards, list):  # the common case: the check for an abstract class takes six times as long
        return rewards
    return run_sync(_awaited(rewards)) if isinstance(rewards, Awaitable) else rewards


async def score_async(reward: RewardFunction, episodes: "Sequence[Episode]") -> Sequence[Reward]:
    """Calls a reward function from async code: a synchronous one in a thread, unless it is marked `runs_inline`."""
    if (
        getattr(reward, "runs_inline", False)
        or iscoroutinefunction(reward)
        or iscoroutinefunction(type(reward).__call__)
    ):
        rewards = reward(episodes)
    else:
        rewards = await in_thread(reward, episodes)
    return await rewards if isinstance(rewards, Awaitable) else rewards


async def _awaited(rewards: Awaitable[Sequence[Reward]]) -> Sequence[Reward]:
    return await rewards
