"""Figures of policies that were trained several times: over the people asked and over the seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from ..evaluation.compare import values_of
from ..evaluation.intervals import Interval, Sums, over_seeds
from ..evaluation.played import PlayedRun
from ..evaluation.run import RunDirectory

METRICS = ("score", "baseline", "gain", "searches")


@dataclass(frozen=True, slots=True)
class Answered:
    """One question as a run answered it: means over its attempts."""

    user: str
    hops: int | None
    values: Mapping[str, float]


Played = Mapping[int, Mapping[str, Answered]]  # by seed and by question


@dataclass(frozen=True, slots=True)
class Side:
    """A figure, of all questions or of those of so many hops."""

    played: Played
    metric: str = "score"
    hops: int | None = None

    def values(self) -> dict[int, dict[str, float]]:
        return {
            seed: {
                question: answered.values[self.metric]
                for question, answered in answers.items()
                if self.metric in answered.values and self.hops in (None, answered.hops)
            }
            for seed, answers in self.played.items()
        }


def read(folder: Path) -> dict[str, Answered]:
    run = PlayedRun(RunDirectory(folder))
    found: dict[str, dict[str, float]] = {}
    for metric, by_question in values_of(run, metrics=METRICS).items():
        for question, values in by_question.items():
            found.setdefault(question, {})[metric] = fmean(values)
    asked = {question: run.find(question) for question in found}
    return {name: Answered(asked[name].user_id, asked[name].rubric.hops, found[name]) for name in found}


def mean(side: Side) -> Interval:
    return _over([side], lambda totals: _means(totals, 0))


def less(one: Side, other: Side) -> Interval:
    """How much more the first one is; question by question, and seed by seed."""
    return _over([one, other], lambda totals: _means(totals, 0) - _means(totals, 1))


def share(one: Side, other: Side) -> Interval:
    """The first one as a share of the other."""
    return _over([one, other], lambda totals: _means(totals, 0) / _means(totals, 1))


def _means(totals: Sums, side: int) -> Sums:
    means: Sums = totals[:, 2 * side] / totals[:, 2 * side + 1]
    return means


def _over(sides: Sequence[Side], statistic: Callable[[Sums], Sums]) -> Interval:
    """Sides of the same hops are of the same questions: those that all of them know."""
    found = [side.values() for side in sides]
    seeds = [seed for seed in found[0] if all(seed in values for values in found)]
    if len({side.hops for side in sides}) == 1:
        found = [{seed: _common(values, found, seed) for seed in seeds} for values in found]
    seeds = [seed for seed in seeds if all(values[seed] for values in found)]
    user_of = {name: answered.user for side in sides for seed in seeds for name, answered in side.played[seed].items()}
    row = {user: number for number, user in enumerate(sorted(set(user_of.values())))}
    sums = np.zeros((len(seeds), len(row), 2 * len(sides)))
    for at, seed in enumerate(seeds):
        for place, values in enumerate(found):
            for question, value in values[seed].items():
                sums[at, row[user_of[question]], 2 * place : 2 * place + 2] += (value, 1)
    return over_seeds(sums, statistic, int(sums[..., 1].sum()))


def _common(
    values: Mapping[int, Mapping[str, float]], others: Sequence[Mapping[int, Mapping[str, float]]], seed: int
) -> dict[str, float]:
    return {name: value for name, value in values[seed].items() if all(name in other[seed] for other in others)}
