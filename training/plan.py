"""What a recipe will do, before anything of it is loaded: the numbers behind `--dry-run`."""

from dataclasses import dataclass
from typing import Any

from ..envs.data import load_questions
from ..envs.errors import ProfileGymError
from .recipe import Recipe

_ASPECTS = {"lamp-qa": 2.9}  # of a training question, by LaMP-QA's own table; others are counted
_JUDGE_TOKENS = (1200, 256)  # what a judgement may take in and give out
_SAMPLE = 200  # questions that are looked at to count their aspects


@dataclass(frozen=True, slots=True)
class Plan:
    """Per step and in all; `questions` and `aspects` are None where the data is not here to be counted."""

    questions: int | None
    aspects: float | None
    groups: int
    episodes: int
    turns: int  # at most
    tokens: int  # of the policy, at most
    judge_calls: float | None  # of an evaluator LLM
    judge_tokens: float | None
    steps: int
    problems: tuple[str, ...]


def plan_of(recipe: Recipe) -> Plan:
    questions, problem = _count(recipe)
    aspects = _aspects(recipe, questions)
    groups = recipe.optimiser.questions
    episodes = groups * recipe.group.size
    calls = None if aspects is None or not _is_llm(recipe) else episodes * aspects
    turns = groups * (recipe.group.personalised * (recipe.episode.max_searches + 1) + recipe.group.baseline)
    return Plan(
        None if questions is None else len(questions),
        aspects,
        groups,
        episodes,
        turns,
        episodes * recipe.generation.max_tokens,
        calls,
        None if calls is None else calls * sum(_JUDGE_TOKENS),
        recipe.optimiser.steps,
        (problem,) if problem else (),
    )


def _count(recipe: Recipe) -> tuple[Any, str | None]:
    """The questions, or what keeps them from being read here."""
    try:
        return load_questions(recipe.data.train), None
    except ProfileGymError as error:
        return None, f"{recipe.data.train} is not here: {error}"


def _aspects(recipe: Recipe, questions: Any) -> float | None:
    if questions is None:
        return _ASPECTS.get(recipe.data.train.partition(":")[0])
    seen = questions[:_SAMPLE]
    return sum(len(question.rubric.aspects) for question in seen) / len(seen)


def _is_llm(recipe: Recipe) -> bool:
    return "openai:" in recipe.reward
