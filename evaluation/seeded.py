"""Figures of one run, or of several that differ in their seed: over the people asked, and over the seeds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from ..envs.trajectory import Trajectory
from .intervals import Interval, Kind, Statistic, Sums, kind_of, over_seeds
from .played import PlayedRun
from .summary import FRACTIONS, Place, figures, place_of, score_of

METRICS = ("score", "baseline", "gain", "searches", "evidence", "structure")
Values = dict[str, dict[str, list[float]]]  # by metric and by question


@dataclass(frozen=True, slots=True)
class Answered:
    """One question as a run answered it: means over its attempts; a figure that is not known is not there."""

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

    def of(self, questions: set[str]) -> "Side":
        """Of these questions alone."""
        kept = {seed: {q: answers[q] for q in questions if q in answers} for seed, answers in self.played.items()}
        return replace(self, played=kept)


def read(run: PlayedRun, judge: str | None = None) -> dict[str, Answered]:
    """Every question that was asked. `judge` names whose verdicts count, else the run's own do."""
    found = _values_of(run, judge)
    asked = {question: run.find(question) for question in dict.fromkeys(q for of in found.values() for q in of)}
    return {
        name: Answered(
            question.user_id,
            question.rubric.hops,
            {metric: fmean(by_question[name]) for metric, by_question in found.items() if name in by_question},
        )
        for name, question in asked.items()
    }


def mean(side: Side) -> Interval:
    values = (value for by_question in side.values().values() for value in by_question.values())
    kind = kind_of(values) if side.metric in FRACTIONS else "any"
    return _over([side], lambda totals: _means(totals, 0), kind)


def less(one: Side, other: Side) -> Interval:
    """How much more the first one is; question by question, and seed by seed."""
    return _over([one, other], lambda totals: _means(totals, 0) - _means(totals, 1))


def share(one: Side, other: Side) -> Interval:
    """The first one as a share of the other."""
    return _over([one, other], lambda totals: _means(totals, 0) / _means(totals, 1))


def _values_of(run: PlayedRun, judge: str | None) -> Values:
    """Of the personalised episodes, or of the baselines where there is nothing else."""
    kinds, baselines = Counter[str](), dict[Place, float | None]()
    for trajectory in run.trajectories(judge):
        kinds[trajectory.kind] += 1
        if trajectory.kind == "baseline":
            baselines[place_of(trajectory)] = score_of(trajectory)
    wanted = "personalised" if kinds["personalised"] else "baseline"
    found: Values = {metric: {} for metric in METRICS}
    for trajectory in run.trajectories(judge):
        if trajectory.kind == wanted:
            _add(found, run, trajectory, baselines if wanted == "personalised" else {})
    return found


def _add(found: Values, run: PlayedRun, trajectory: Trajectory, baselines: Mapping[Place, float | None]) -> None:
    for metric, value in figures(trajectory, run.find(trajectory.question_id), baselines):
        if metric in found and value is not None:
            found[metric].setdefault(trajectory.question_id, []).append(float(value))


def _means(totals: Sums, side: int) -> Sums:
    means: Sums = totals[:, 2 * side] / totals[:, 2 * side + 1]
    return means


def _over(sides: Sequence[Side], statistic: Statistic, kind: Kind = "any") -> Interval:
    """Sides of the same hops are of the same questions: those that all of them know."""
    found = [side.values() for side in sides]
    seeds = [seed for seed in found[0] if all(seed in values for values in found)]
    if len({side.hops for side in sides}) == 1:
        found = [{seed: _common(values, found, seed) for seed in seeds} for values in found]
    seeds = [seed for seed in seeds if all(values[seed] for values in found)]
    user_of = {
        name: side.played[seed][name].user
        for side, values in zip(sides, found, strict=True)
        for seed in seeds
        for name in values[seed]
    }
    row = {user: number for number, user in enumerate(sorted(set(user_of.values())))}
    sums = np.zeros((len(seeds), len(row), 2 * len(sides)))
    for at, seed in enumerate(seeds):
        for place, values in enumerate(found):
            for question, value in values[seed].items():
                sums[at, row[user_of[question]], 2 * place : 2 * place + 2] += (value, 1)
    return over_seeds(sums, statistic, int(sums[..., 1].sum()), kind)


def _common(
    values: Mapping[int, Mapping[str, float]], others: Sequence[Mapping[int, Mapping[str, float]]], seed: int
) -> dict[str, float]:
    return {name: value for name, value in values[seed].items() if all(name in other[seed] for other in others)}
