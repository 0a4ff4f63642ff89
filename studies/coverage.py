"""Coverage of the 95 % intervals by simulation; writes the table of `docs/evaluation.md`.

python -m profilegym.studies.coverage [--trials 200]
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from ..evaluation.intervals import RESAMPLES, Sums, mean
from .page import fill_in, table

PAGE = Path("docs/evaluation.md")  # in the working directory
PEOPLE = (5, 10, 18, 30, 60)
QUESTIONS = 8  # at most, of a person
TRIALS = 2_000

Random = np.random.Generator
Ends = tuple[float, float]
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class World:
    """A distribution of people and of their answers, and the true mean of all answers."""

    name: str
    answers: Callable[[Random, int], list[Sums]]  # of that many people
    truth: float
    fraction: bool = True


def _people(level: Callable[[Random], float], answer: Callable[[Random, float, int], Any]) -> Any:
    def answers(random: Random, people: int) -> list[Sums]:
        counts = random.integers(1, QUESTIONS + 1, people)
        return [np.asarray(answer(random, level(random), int(count)), float) for count in counts]

    return answers


def _graded(random: Random, level: float, count: int) -> Any:
    """Scores of two aspects with 0 to 2 points each."""
    return random.binomial(4, level, count) / 4


def _beta(a: float, b: float) -> Callable[[Random], float]:
    return lambda random: random.beta(a, b)


WORLDS = (
    World(
        "normal",
        _people(lambda random: random.normal(), lambda random, level, n: random.normal(level, 1.0, n)),
        0.0,
        fraction=False,
    ),
    World("scores around 0.6", _people(_beta(3, 2), _graded), 0.6),
    World("scores near the top, 0.9", _people(_beta(9, 1), _graded), 0.9),
    World(
        "skewed, exponential",
        _people(lambda random: random.exponential(), lambda random, level, n: random.exponential(level, n)),
        1.0,
        fraction=False,
    ),
    World("0 or 1, half of them 1", _people(_beta(1.5, 1.5), lambda random, p, n: random.binomial(1, p, n)), 0.5),
    World("0 or 1, nine of ten 1", _people(_beta(2.7, 0.3), lambda random, p, n: random.binomial(1, p, n)), 0.9),
)


def here(answers: Sequence[Sums], world: World) -> Ends:
    """The interval of summaries and comparisons."""
    found = mean({str(person): given.tolist() for person, given in enumerate(answers)}, world.fraction)
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def percentile(answers: Sequence[Sums], _: World) -> Ends:
    low, high = np.percentile(_redrawn(answers), (2.5, 97.5))
    return float(low), float(high)


def bca(answers: Sequence[Sums], _: World) -> Ends:
    """Efron's bias-corrected and accelerated bootstrap."""
    drawn, sums = _redrawn(answers), _sums(answers)
    value = sums[:, 0].sum() / sums[:, 1].sum()
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    without = sums.sum(0) - sums
    off = without[:, 0] / without[:, 1]
    off = off.mean() - off
    if not 0 < below < 1 or not (off**2).any():
        return float(value), float(value)
    bias, acceleration = _NORMAL.inv_cdf(below), (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    moved = (bias + _NORMAL.inv_cdf(chance) for chance in (0.025, 0.975))
    low, high = (np.quantile(drawn, _NORMAL.cdf(bias + at / (1 - acceleration * at))) for at in moved)
    return float(low), float(high)


METHODS = {"here": here, "percentile": percentile, "BCa": bca}


def _sums(answers: Sequence[Sums]) -> Sums:
    return np.array([(given.sum(), given.size) for given in answers])


def _redrawn(answers: Sequence[Sums]) -> Sums:
    totals = _draws(len(answers)) @ _sums(answers)
    found: Sums = totals[:, 0] / totals[:, 1]
    return found


@lru_cache
def _draws(people: int) -> Sums:
    return np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), RESAMPLES).astype(float)


def coverage(world: World, people: int, trials: int) -> dict[str, float]:
    """By method: the share of samples whose interval contains the truth."""
    held = dict.fromkeys(METHODS, 0)
    for trial in range(trials):
        answers = world.answers(np.random.default_rng((people, trial)), people)
        for name, method in METHODS.items():
            low, high = method(answers, world)
            held[name] += low <= world.truth <= high
    return {name: count / trials for name, count in held.items()}


def measured(trials: int) -> str:
    return table(("values", "by", *(f"{people} people" for people in PEOPLE)), list(_rows(trials)))


def _rows(trials: int) -> Iterator[list[str]]:
    for world in WORLDS:
        found = [coverage(world, people, trials) for people in PEOPLE]
        for name in METHODS:
            yield [world.name, name, *(f"{one[name]:.2f}" for one in found)]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.studies.coverage", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help="samples of people for each cell")
    parser.add_argument("--page", type=Path, default=PAGE, help="with a place for the table")
    asked = parser.parse_args(arguments)
    fill_in(asked.page, "coverage", lambda: measured(asked.trials))


if __name__ == "__main__":
    main(sys.argv[1:])
