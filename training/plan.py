"""What a recipe will ask for, before anything of it is loaded: the numbers behind `--dry-run`."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean

from ..agents.models.accounting import MILLION, Estimate
from ..envs.data import QuestionSet, load_questions
from ..envs.data.leaks import split_leaks
from ..envs.question import Aspect, Profile, Question, Rubric
from ..errors import ProfileGymError
from ..rewards.judge import SAMPLING
from ..rewards.judge_prompts import TOTAL, messages
from .checks import is_on_hub, missing_for, unknown_of, wrong_with
from .lessons import FineTuning
from .recipe import Player, Recipe, Training
from .reward_models.contrast import RewardModelling

_SAMPLE = 200  # questions that are looked at to count their aspects
_LAMP_QA = {  # questions and aspects of each by split, from LaMP-QA's own table 1
    "Art_and_Entertainment": {"train": (9349, 2.7), "validation": (801, 4.7), "test": (767, 4.6)},
    "Lifestyle_and_Personal_Development": {"train": (7370, 3.1), "validation": (892, 5.1), "test": (989, 5.1)},
    "Society_and_Culture": {"train": (7614, 2.9), "validation": (810, 4.8), "test": (1074, 4.8)},
}


@dataclass(frozen=True, slots=True)
class Size:
    """How many questions a data set has, and how many aspects each; None where that is not known."""

    questions: int | None = None
    aspects: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked for at most. Of judges, only evaluator LLMs count; None where it is not known how much."""

    episodes: int = 0
    turns: int = 0  # of the policy
    tokens: int = 0  # that it writes
    judgements: float | None = 0.0  # calls
    judge_read: float | None = 0.0  # tokens
    judge_written: float | None = 0.0
    cost: float | None = 0.0  # in the currency of the prices given

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.episodes + other.episodes,
            self.turns + other.turns,
            self.tokens + other.tokens,
            _sum(self.judgements, other.judgements),
            _sum(self.judge_read, other.judge_read),
            _sum(self.judge_written, other.judge_written),
            _sum(self.cost, other.cost),
        )

    def __mul__(self, times: int) -> "Work":
        return sum((self for _ in range(times)), Work())


@dataclass(frozen=True, slots=True)
class Plan:
    """One step, all of them, and the evaluations; what is wrong, what is missing, and what cannot be told here."""

    questions: int | None
    step: Work
    training: Work
    evaluations: Work
    wrong: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def everything(self) -> Work:
        return self.training + self.evaluations


def plan_of(recipe: Player, to_come: Collection[str] = ()) -> Plan:
    """`to_come` are folders that are made before the run, and believed to hold what it needs."""
    sizes, wrong = _sizes(recipe.data.named)
    train = sizes.get(recipe.data.train, Size())
    step, training = _learning(recipe, train)
    return Plan(
        train.questions,
        step,
        training,
        (_meanwhile(recipe, sizes) if isinstance(recipe, Recipe) else Work())
        + (_conclusion(recipe, sizes) if isinstance(recipe, Training) else Work()),
        (*wrong_with(recipe, to_come), *wrong),
        tuple(missing_for(recipe)),
        tuple(unknown_of(recipe, to_come)),
    )


def _learning(recipe: Player, train: Size) -> tuple[Work, Work]:
    """What one step plays, and what is played to learn from in all."""
    match recipe:
        case Recipe():
            own, beside = recipe.group.personalised, recipe.group.baseline
            questions = recipe.optimiser.questions
            step = _work(recipe, recipe.reward, train, questions * own, questions * beside)
            return step, step * recipe.optimiser.steps
        case FineTuning():
            lessons = recipe.lessons
            limit = lessons.limit or train.questions or 0
            return Work(), _evaluation(recipe, train, limit) if lessons.player is not None else Work()
        case RewardModelling():
            once = _evaluation(recipe, train, recipe.limit or train.questions or 0)
            return Work(), once * len(recipe.agents)
    raise TypeError(f"no plan of {type(recipe).__name__}")


def _meanwhile(recipe: Recipe, sizes: dict[str, Size]) -> Work:
    """Before the first step, every so many steps, and after the last one."""
    every, data = recipe.watch.evaluate, recipe.data.validation
    if not every or data is None:
        return Work()
    return _evaluation(recipe, sizes.get(data, Size()), recipe.watch.questions) * (
        1 + ceil(recipe.optimiser.steps / every)
    )


def _conclusion(recipe: Training, sizes: dict[str, Size]) -> Work:
    ended = recipe.conclusion
    players = [recipe.agent, *ended.controls, *([recipe.agent] if ended.oracle is not None else [])]
    asked = [
        _evaluation(recipe, sizes.get(data, Size()), ended.questions, agent) * ended.seeds
        for data in recipe.data.test.values()
        for agent in players
    ]
    return sum(asked, Work())


def _evaluation(recipe: Player, size: Size, limit: int, agent: str | None = None) -> Work:
    """Each question with the profile and without."""
    count = min(limit, size.questions or limit)
    return _work(recipe, f"score:{recipe.judge}", size, 0 if agent == "none" else count, count)


def _work(recipe: Player, reward: str, size: Size, personalised: int, baselines: int) -> Work:
    drawn, turns = recipe.generation, recipe.episode.max_searches + 1
    episodes = personalised + baselines
    calls, read, written = _judging(reward, episodes, size)
    return Work(
        episodes,
        personalised * turns + baselines,
        personalised * min(drawn.max_tokens, turns * drawn.turn_tokens) + baselines * drawn.turn_tokens,
        calls,
        read,
        written,
        _cost(reward, read, written),
    )


def _judging(reward: str, episodes: int, size: Size) -> tuple[float | None, float | None, float | None]:
    """Calls, tokens read and tokens written: one call an aspect, each as long as its budget lets it be."""
    if "openai:" not in reward:
        return 0.0, 0.0, 0.0
    if size.aspects is None:
        return None, None, None
    calls = episodes * size.aspects
    return calls, calls * (_rules() + TOTAL), calls * SAMPLING.max_tokens


def _rules() -> int:
    """Tokens of a judge's prompt that has nothing to judge."""
    asked = Question("", "", "", Profile("", ()), Rubric(""))
    return Estimate.of(messages(asked, "", Aspect("")), 0).prompt_tokens


def _cost(reward: str, read: float | None, written: float | None) -> float | None:
    """None where prices are not told."""
    if "openai:" not in reward:
        return 0.0
    prices = [re.search(rf"\bprice_{way}=([\d.]+)", reward) for way in ("in", "out")]
    if read is None or written is None or not all(prices):
        return None
    price_in, price_out = (float(price[1]) for price in prices if price)
    return (price_in * read + price_out * written) / MILLION


def _sizes(named: Sequence[str]) -> tuple[dict[str, Size], list[str]]:
    """Of the data sets that can be read here, or are known; and what is wrong with the others."""
    sizes, wrong = dict[str, Size](), []
    for data in dict.fromkeys(named):
        try:
            sizes[data] = _published(data) if is_on_hub(data) else _counted(load_questions(data))
        except ProfileGymError as error:
            wrong.append(str(error))
    return sizes, wrong


def _counted(questions: QuestionSet) -> Size:
    return Size(len(questions), fmean(len(question.rubric.aspects) for question in questions[:_SAMPLE]))


def _published(data: str) -> Size:
    config, _, split = split_leaks(data)[0].partition(":")[2].partition("/")
    return Size(*_LAMP_QA[config][split]) if config in _LAMP_QA else Size()


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
