"""What personalising was worth: an answer's score beside that of the same policy's answer without the profile."""

from asyncio import gather
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from .._util.sync import in_thread
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.reward import Reward
from ..errors import OptionError, RewardError
from .baseline import BaselineStore, Policy
from .judge import Comparing, Judge, all_of
from .judge_attacks import flags
from .judges import answers_of, make_judge
from .score import all_judged

Baselines = str | Path | BaselineStore
Formula = Callable[[float, float], float]


@dataclass(frozen=True)
class BaselineReward:
    """Sets each score beside the mean of its baseline's, by a formula; unscored where either could not be had."""

    judge: Judge
    store: BaselineStore
    policy: Policy
    formula: Formula

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        verdicts = await self.judge.score_many(answers_of(episodes))
        baselines = await self._baselines(episodes)
        scored = zip(episodes, await in_thread(all_judged, episodes, verdicts), strict=True)
        return [self._reward(reward, baselines[id(episode.question)]) for episode, reward in scored]

    def _reward(self, scored: Reward, baseline: float | RewardError) -> Reward:
        if scored.total is None:
            return scored
        if isinstance(baseline, RewardError):
            return Reward(None, verdict=scored.verdict, unscored=str(baseline), flags=scored.flags)
        total = self.formula(scored.total, baseline)
        return Reward(total, {"score": scored.total, "baseline": baseline}, scored.verdict, flags=scored.flags)

    async def _baselines(self, episodes: Sequence[Episode]) -> dict[int, float | RewardError]:
        """By question: a group of many attempts at one question asks for its baseline once."""
        questions = {id(episode.question): episode.question for episode in episodes}
        scores = await gather(*(self._baseline(question) for question in questions.values()))
        return dict(zip(questions, scores, strict=True))

    async def _baseline(self, question: Question) -> float | RewardError:
        try:
            verdicts = await self.store.verdicts(question, self.policy, self.judge)
        except RewardError as error:
            return error
        return fmean(verdict.score for verdict in verdicts)


@dataclass(frozen=True)
class Win:
    """1 for an answer better than the baseline's, 0 for a worse one, 0.5 for a tie; the mean over several baselines.

    Both orders are judged, as judges favour a place; where they disagree it is a tie.
    """

    judge: Comparing
    store: BaselineStore
    policy: Policy

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return await gather(*(self._reward(question, answer) for question, answer in answers_of(episodes)))

    async def _reward(self, question: Question, answer: str) -> Reward:
        odd = await in_thread(flags, question, answer)
        try:
            baselines = self.store.answers(question, self.policy)
            win = fmean(await all_of([self._against(question, answer, baseline) for baseline in baselines]))
        except RewardError as error:
            return Reward(None, unscored=str(error), flags=odd)
        return Reward(win, {"win": win}, flags=odd)

    async def _against(self, question: Question, answer: str, baseline: str) -> float:
        forth, back = await all_of(
            [self.judge.prefer(question, answer, baseline), self.judge.prefer(question, baseline, answer)]
        )
        return (1 + forth) / 2 if forth == -back else 0.5


def gain(judge: str | Judge = "rubric", *, baselines: Baselines, policy: str, **options: Any) -> BaselineReward:
    """s - r_v: the score less the baseline's."""
    return BaselineReward(make_judge(judge, **options), _store(baselines), Policy.named(policy), _difference)


def lift(
    judge: str | Judge = "rubric", *, baselines: Baselines, policy: str, floor: float = 0.1, **options: Any
) -> BaselineReward:
    """s / r_v, with a floor under the baseline, so that a poor one does not make any answer look splendid."""
    if floor <= 0:
        raise OptionError(f"floor={floor!r}: give a number above 0, as a baseline may score 0")
    return BaselineReward(make_judge(judge, **options), _store(baselines), Policy.named(policy), partial(_ratio, floor))


def win(judge: str | Comparing = "rubric", *, baselines: Baselines, policy: str, **options: Any) -> Win:
    made: Any = judge if not isinstance(judge, str) else make_judge(judge, **options)
    if not hasattr(made, "prefer"):
        raise OptionError(f"win needs a judge that compares two answers; {made.name!r} has no `prefer`: use gain")
    return Win(made, _store(baselines), Policy.named(policy))


def _difference(score: float, baseline: float) -> float:
    return score - baseline


def _ratio(floor: float, score: float, baseline: float) -> float:
    return score / max(baseline, floor)


def _store(baselines: Baselines) -> BaselineStore:
    return baselines if isinstance(baselines, BaselineStore) else BaselineStore(baselines)
