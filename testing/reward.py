"""Conformance kit for rewards."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass, replace
from functools import partial
from typing import Any

from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.reward import Reward, RewardFunction, rewards_of
from ..errors import JudgeError
from ..rewards.compose import Compose, Gated
from .kit import Check, ContractViolation, attempt, register
from .reward_fixtures import HIDDEN, absent, empty, everything, hostile, ordinary

CHECKS: list[Check] = []
_check = partial(register, CHECKS)
_TOLERANCE = 1e-9


@_check(
    "one for each",
    "A batch returns one Reward per episode; an empty batch returns an empty list.",
    "Return [Reward(…) for episode in episodes], or an awaitable of that.",
)
def _one_for_each(reward: RewardFunction) -> None:
    for episodes in (everything(), ordinary()[:1], []):
        _ask(reward, episodes)


@_check(
    "scores something",
    "At least one ordinary answer gets a total.",
    "See the reason given.",
)
def _scores_something(reward: RewardFunction) -> None:
    given = _ask(reward, ordinary())
    if all(one.total is None for one in given):
        raise ContractViolation(f"all ordinary answers were unscored: {given[0].unscored}")


@_check(
    "order",
    "Rewards come in the order of the episodes.",
    "Gather results in order; asyncio.gather keeps it, as_completed does not.",
)
def _order(reward: RewardFunction) -> None:
    episodes = everything()
    _same("in reverse", _ask(reward, episodes), list(reversed(_ask(reward, episodes[::-1]))), episodes)


@_check(
    "batch equals single",
    "An episode gets the same reward alone as among others.",
    "Score each episode independently; the advantage compares groups later.",
)
def _batch_equals_single(reward: RewardFunction) -> None:
    episodes = ordinary()
    _same("alone", _ask(reward, episodes), [_ask(reward, [episode])[0] for episode in episodes], episodes)


@_check(
    "deterministic",
    "The same episode gets the same reward again.",
    "Seed randomness from the episode, set a judge's temperature to 0, and cache its verdicts.",
)
def _deterministic(reward: RewardFunction) -> None:
    _same("again", _ask(reward, everything()), _ask(reward, everything()), everything())


@_check("finite", "Totals and parts are finite numbers.", "Check for a division by zero; return float(total).")
def _finite(reward: RewardFunction) -> None:
    for episode, one in _each(reward, everything()):
        named = dict(one.parts) if one.total is None else {"total": one.total, **one.parts}
        for name, value in named.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ContractViolation(f"{_shown(episode)} got the {name} {value!r} ({type(value).__name__})")


@_check(
    "parts add up",
    "The parts of a reward with parts_sum sum to the total.",
    "Name every part with its weight applied, or leave parts_sum out.",
)
def _parts_add_up(reward: RewardFunction) -> None:
    for episode, one in _each(reward, everything()):
        total = sum(one.parts.values())
        declared = getattr(reward, "parts_sum", False) and one.total is not None
        if declared and not _close(one.total, total):
            raise ContractViolation(f"{_shown(episode)} got the total {one.total!r}, and parts that sum to {total!r}")


@_check(
    "unscored says why",
    "A total is None exactly where there is a reason in unscored.",
    "Return Reward(None, unscored='what was missing'), never 0, for an unknown total.",
)
def _unscored_says_why(reward: RewardFunction) -> None:
    for episode, one in _each(reward, everything()):
        if (one.total is None) != bool(one.unscored):
            raise ContractViolation(f"{_shown(episode)} got the total {one.total!r} with the reason {one.unscored!r}")


def _any_answer(specimens: Callable[[], list[Episode]], reward: RewardFunction) -> None:
    for episode in specimens():
        _ask(reward, [episode])


CHECKS.extend(
    Check(
        f"{kind} answers",
        promise,
        "Use (episode.answer or ''), and treat it as data in prompts and patterns.",
        partial(_any_answer, specimens),
    )
    for kind, promise, specimens in (
        ("empty", "An empty or blank answer gets a reward, not an error.", empty),
        ("absent", "An episode that ended without an answer gets a reward, not an error.", absent),
        ("hostile", "Any text of an answer is scored as text, without an exception.", hostile),
    )
)


@_check(
    "nothing hidden",
    "Part names and reasons hold nothing that is hidden from policies.",
    "Name parts after what is measured, not after aspects or their text.",
)
def _nothing_hidden(reward: RewardFunction) -> None:
    for episode, one in _each(reward, everything()):
        said = f"{' '.join(one.parts)} {one.unscored}"
        for hidden in HIDDEN:
            if hidden in said:
                raise ContractViolation(f"{_shown(episode)} shows {hidden!r} in {said!r}")


@_check(
    "looks only",
    "Scoring does not change the episode.",
    "Read the episode and return; the environment records the reward.",
)
def _looks_only(reward: RewardFunction) -> None:
    episodes = everything()
    before = [episode.trajectory() for episode in episodes]
    _ask(reward, episodes)
    for episode, was in zip(episodes, before, strict=True):
        if episode.trajectory() != was:
            raise ContractViolation(f"{_shown(episode)} was changed")


@_check(
    "failing judge",
    "When its judge fails, an answer is unscored, never 0.",
    "Where a verdict is an error, return Reward(None, unscored=str(error)).",
)
def _failing_judge(reward: RewardFunction) -> None:
    failing = _judged_by(reward, _Failing())
    if failing is None:
        return
    for episode, one in _each(failing, ordinary()):
        if one.total is not None:
            raise ContractViolation(f"{_shown(episode)} got the total {one.total!r} though the judge gave no verdict")


class _Failing:
    name = "failing"

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[JudgeError]:
        return [JudgeError("the kit's judge always fails")] * len(pairs)

    async def prefer(self, question: Question, first: str, second: str) -> int:
        raise JudgeError("the kit's judge always fails")


def _judged_by(reward: Any, judge: Any) -> Any:
    """The same reward with another judge; None where it has no judge."""
    if isinstance(reward, Compose):
        terms = [term._replace(reward=_judged_by(term.reward, judge) or term.reward) for term in reward.terms]
        return Compose(tuple(terms)) if tuple(terms) != reward.terms else None
    if isinstance(reward, Gated):
        inner = _judged_by(reward.reward, judge)
        return replace(reward, reward=inner) if inner else None
    replaceable = is_dataclass(reward) and not isinstance(reward, type) and hasattr(reward, "judge")
    return replace(reward, judge=judge) if replaceable else None


def _ask(reward: RewardFunction, episodes: Sequence[Episode]) -> list[Reward]:
    """One call; any failure is a violation."""
    this = f"a batch of {len(episodes)}" if len(episodes) != 1 else _shown(episodes[0])
    given = attempt(lambda: rewards_of(reward(episodes)), this)
    if not isinstance(given, list | tuple) or not all(isinstance(one, Reward) for one in given):
        raise ContractViolation(f"{this} gave {str(given)[:80]!r}, which is no list of Reward")
    if len(given) != len(episodes):
        raise ContractViolation(f"{this} gave {len(given)} rewards")
    return list(given)


def _each(reward: RewardFunction, episodes: Sequence[Episode]) -> Iterator[tuple[Episode, Reward]]:
    return zip(episodes, _ask(reward, episodes), strict=True)


def _same(how: str, rewards: list[Reward], others: list[Reward], episodes: Sequence[Episode]) -> None:
    for episode, one, other in zip(episodes, rewards, others, strict=True):
        if not _close(one.total, other.total):
            raise ContractViolation(f"{_shown(episode)} got {one.total!r}, and {how} {other.total!r}")


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, abs_tol=_TOLERANCE) or (
        math.isnan(one) and math.isnan(other)
    )  # reported by another check


def _shown(episode: Episode) -> str:
    return f"the answer {episode.answer if episode.answer is None else ascii(episode.answer[:60])}"
