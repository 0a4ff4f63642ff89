"""What a judge is to a reward, and where judges are found by name."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..envs.episode import Episode
from ..envs.errors import RewardError
from ..envs.question import Question
from ..envs.registry import Registry
from ..envs.reward import Verdict

Pair = tuple[Question, str]


class Scorer(Protocol):
    """Scores a batch of answers in order; where a verdict could not be had, the error stands in its place."""

    name: str

    async def score_many(self, pairs: Sequence[Pair]) -> Sequence[Verdict | RewardError]: ...


JUDGES = Registry("judge", {"rubric": f"{__name__.rpartition('.')[0]}.rubric:RubricJudge"})


def make_judge(spec: "str | Scorer", **options: Any) -> Any:
    """The judge that a spec names; an object is one already."""
    if not isinstance(spec, str):
        return spec
    return JUDGES.make(",".join([spec, *(f"{name}={_written(value)}" for name, value in options.items())]))


def register_judge(name: str, factory: Callable[..., Scorer]) -> None:
    """Make `factory` available as `score:name`, `gain:name` …"""
    JUDGES.register(name, factory)


def answers_of(episodes: Sequence[Episode]) -> list[Pair]:
    """What a judge is shown: an episode without an answer gave an empty one."""
    return [(episode.question, episode.answer or "") for episode in episodes]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
