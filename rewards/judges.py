"""Where judges are found by name."""

from collections.abc import Callable, Sequence
from typing import Any

from .._util.registry import Registry
from ..envs.episode import Episode
from .judge import Judge, Pair

JUDGES = Registry(
    "judge", {"openai": "profilegym.registration:openai_judge", "rubric": "profilegym.rewards.rubric:RubricJudge"}
)


def make_judge(spec: str | Judge, **options: Any) -> Judge:
    """The judge that a spec names; an object is one already."""
    judge: Judge = JUDGES.make(spec, **options) if isinstance(spec, str) else spec
    return judge


def register_judge(name: str, factory: Callable[..., Judge]) -> None:
    """Make `factory` available as `score:name`, `gain:name` …"""
    JUDGES.register(name, factory)


def answers_of(episodes: Sequence[Episode]) -> list[Pair]:
    """What a judge is shown: an episode without an answer gave an empty one."""
    return [(episode.question, episode.answer or "") for episode in episodes]
