"""The judge's score of each answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..envs.episode import Episode
from ..envs.errors import RewardError
from ..envs.reward import Reward, Verdict
from .judges import Scorer, answers_of, make_judge


@dataclass(frozen=True)
class Score:
    """An answer that could not be judged stays unscored, with the judge's reason."""

    judge: Scorer
    parts_sum: ClassVar = True

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [_reward(verdict) for verdict in await self.judge.score_many(answers_of(episodes))]


def _reward(verdict: Verdict | RewardError) -> Reward:
    if isinstance(verdict, RewardError):
        return Reward(None, unscored=str(verdict))
    return Reward(verdict.score, {"score": verdict.score}, verdict)


def score(judge: str | Scorer = "rubric", **options: Any) -> Score:
    return Score(make_judge(judge, **options))
