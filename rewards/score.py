"""The judge's score of each answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .._util.sync import in_thread
from ..envs.episode import Episode
from ..envs.reward import Reward, Verdict
from ..errors import RewardError
from .judge import Judge
from .judge_attacks import flags
from .judges import answers_of, make_judge


@dataclass(frozen=True)
class Score:
    """An answer that could not be judged stays unscored, with the judge's reason."""

    judge: Judge
    parts_sum: ClassVar = True

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        verdicts = await self.judge.score_many(answers_of(episodes))
        return await in_thread(all_judged, episodes, verdicts)  # to look for odd answers takes milliseconds each


def all_judged(episodes: Sequence[Episode], verdicts: Sequence[Verdict | RewardError]) -> list[Reward]:
    return [judged(episode, verdict) for episode, verdict in zip(episodes, verdicts, strict=True)]


def judged(episode: Episode, verdict: Verdict | RewardError) -> Reward:
    """The score and nothing else, and what is odd about the answer."""
    odd = flags(episode.question, episode.answer or "")
    if isinstance(verdict, RewardError):
        return Reward(None, unscored=str(verdict), flags=odd)
    return Reward(verdict.score, {"score": verdict.score}, verdict, flags=odd)


def score(judge: str | Judge = "rubric", **options: Any) -> Score:
    return Score(make_judge(judge, **options))
