"""Summaries of a group's episodes, exchanged between processes, and the metrics of a step's groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Self

from ...envs.trajectory import Kind, Trajectory
from ...errors import OptionError, RewardError
from ..advantage import advantages, is_flat, is_skipped, turn_advantages
from ..recipe import Recipe

_DEAD = 0.5  # of the episodes unscored: the judge is gone, not unlucky


@dataclass(frozen=True, slots=True)
class Member:
    """The part of an episode that all processes need."""

    kind: Kind
    total: float | None
    score: float | None
    unscored: str | None
    answer: str | None
    hops: int | None
    searches: int
    structure: bool | None
    malformed: int
    tokens: int | None  # of the policy; None where an agent wrote all turns itself
    truncated: bool
    calls: Sequence[float] | None = None  # the rewards of its turns, with an advantage by turn

    @classmethod
    def of(cls, trajectory: Trajectory, hops: int | None, calls: Sequence[float] | None = None) -> Self:
        reward, verdict = trajectory.reward, trajectory.verdict
        total = reward.total if reward is not None else None
        return cls(
            trajectory.kind,
            total,
            verdict.score if verdict is not None else total,
            trajectory.error or (reward.unscored if reward is not None else "it was not scored"),
            trajectory.answer,
            hops,
            len(trajectory.searches),
            trajectory.structure_ok,
            trajectory.malformed,
            _sampled(trajectory),
            trajectory.ended in ("budget", "length"),
            calls,
        )


def used_advantages(members: Sequence[Member], recipe: Recipe) -> list[float]:
    """The advantages of whole groups, as the loss uses them."""
    size, cut = recipe.group.size, recipe.group.personalised
    used: list[float] = []
    for start in range(0, len(members), size):
        totals = [member.total for member in members[start : start + size]]
        group = advantages(recipe.mode, totals[:cut], totals[cut:], recipe.scale_rewards)
        if recipe.train_baseline == "positive":
            group[cut:] = [max(0.0, advantage) for advantage in group[cut:]]
        used += group
    return used


def check_scored(members: Sequence[Member]) -> None:
    """Raises `RewardError` where most episodes could not be scored."""
    unscored = sum(member.total is None for member in members) / len(members)
    if unscored > _DEAD:
        reason = next(member.unscored for member in members if member.total is None)
        raise RewardError(f"{unscored:.0%} of the step's episodes could not be scored: {reason}")


def check_sampled(members: Sequence[Member]) -> None:
    """Raises `OptionError` where the agent, and not the policy, wrote every turn with the profile."""
    if all(member.tokens is None for member in members if member.kind == "personalised"):
        raise OptionError(
            "no token of the step's episodes with the profile was sampled by the policy, as the agent writes its turns "
            "itself (r2p, rpm and scripted:… do): train with another agent"
        )


def used_turn_advantages(members: Sequence[Member], recipe: Recipe) -> list[list[float]]:
    """What the turns of whole groups add to their advantages."""
    size, cut = recipe.group.size, recipe.group.personalised
    starts = range(0, len(members), size)
    return [turns for start in starts for turns in advantages_by_turn(members[start : start + size], cut)]


def annotate(
    played: Sequence[Trajectory],
    used: Sequence[float],
    turns: Sequence[Sequence[float]],
    members: Sequence[Member],
    first: int,
    recipe: Recipe,
) -> None:
    """Writes advantages and baseline into the records. `played` are the rows from `first` on of those of `members`."""
    size, cut = recipe.group.size, recipe.group.personalised
    for row, (trajectory, advantage, by_turn) in enumerate(zip(played, used, turns, strict=True), first):
        trajectory.advantage = advantage
        trajectory.turn_advantages = by_turn or None
        group = row // size * size
        if trajectory.kind == "personalised":
            trajectory.baseline = as_baseline(members[group + cut : group + size])


def as_baseline(members: Sequence[Member]) -> dict[str, Any] | None:
    """The baseline as the personalised records keep it: the first answer, and the mean score."""
    if not members:
        return None
    return {"answer": members[0].answer, "score": _mean([member.score for member in members])}


def group_metrics(members: Sequence[Member], used: Sequence[float], recipe: Recipe) -> dict[str, float]:
    """The metrics of one step; unknown ones are left out."""
    size, cut = recipe.group.size, recipe.group.personalised
    groups = [members[start : start + size] for start in range(0, len(members), size)]
    own = [member for member in members if member.kind == "personalised"]
    found = {
        "score": _mean([member.score for member in own]),
        "baseline": _mean([member.score for member in members if member.kind == "baseline"]),
        "gain": _mean([_gain(group[:cut], group[cut:]) for group in groups]),
        "searches": _mean([member.searches for member in own]),
        **{
            f"searches_{hops}_hops": _mean([member.searches for member in own if member.hops == hops])
            for hops in sorted({member.hops for member in own if member.hops is not None})
        },
        "structure": _mean([member.structure for member in own]),
        "malformed": _mean([member.malformed for member in own]),
        "truncated": _mean([member.truncated for member in own]),
        "policy_tokens": _mean([member.tokens for member in own]),
        "unscored": _mean([member.total is None for member in members]),
        "zero_variance": _mean([is_flat([member.total for member in group]) for group in groups]),
        "skipped": _mean([_is_left_out(group, cut, recipe) for group in groups]),
        "advantage_size": _mean([abs(advantage) for advantage in used]),
        "call_reward": _mean([None if member.calls is None else sum(member.calls) for member in own]),
    }
    return {name: value for name, value in found.items() if value is not None}


def advantages_by_turn(group: Sequence[Member], personalised: int) -> list[list[float]]:
    """Those of the first members' turns; none for members without a score, and for baselines."""
    rewards = [None if member.total is None else member.calls for member in group[:personalised]]
    return [*turn_advantages(rewards), *([] for _ in group[personalised:])]


def _sampled(trajectory: Trajectory) -> int | None:
    turns = [segment for segment in trajectory.segments if segment.author == "policy"]
    if turns and all(turn.tokens is None for turn in turns):
        return None
    return sum(len(turn.tokens or ()) for turn in turns)


def _gain(own: Sequence[Member], baselines: Sequence[Member]) -> float | None:
    mine, beside = (_mean([member.score for member in members]) for members in (own, baselines))
    return None if mine is None or beside is None else mine - beside


def _is_left_out(group: Sequence[Member], cut: int, recipe: Recipe) -> bool:
    totals = [member.total for member in group]
    return is_skipped(recipe.mode, totals[:cut], totals[cut:])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
