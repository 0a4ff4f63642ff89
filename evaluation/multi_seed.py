"""Figures of one run or of several seeds, with intervals over people and over seeds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from ..envs.trajectory import Trajectory
from ..errors import DataError
from .intervals import Interval, Kind, Statistic, Sums, kind_of, over_seeds
from .recorded_run import RecordedRun
from .summary import FRACTIONS, Place, figures, place_of, score_of

METRICS = (
    *("score", "baseline", "gain", "searches", "structure", "needless", "harm", "over_personalised"),
    *("evidence", "evidence_precision", "evidence_ndcg", "session_evidence"),
    *("compliance", "interventions"),
)
Values = dict[str, dict[str, list[float]]]  # by metric and by question


@dataclass(frozen=True, slots=True)
class QuestionFigures:
    """One question's figures in a run: means over its attempts; unknown ones are left out."""

    user: str
    hops: int | None
    values: Mapping[str, float]
    category: str | None = None


BySeed = Mapping[int, Mapping[str, QuestionFigures]]  # by seed and by question


@dataclass(frozen=True, slots=True)
class Selection:
    """A metric over runs by seed, for all questions or for those with `hops` hops."""

    runs: BySeed
    metric: str = "score"
    hops: int | None = None

    def values(self) -> dict[int, dict[str, float]]:
        return {
            seed: {
                question: answered.values[self.metric]
                for question, answered in answers.items()
                if self.metric in answered.values and self.hops in (None, answered.hops)
            }
            for seed, answers in self.runs.items()
        }

    def restricted_to(self, questions: set[str]) -> "Selection":
        kept = {seed: {q: answers[q] for q in questions if q in answers} for seed, answers in self.runs.items()}
        return replace(self, runs=kept)


def question_figures(run: RecordedRun, judge: str | None = None) -> dict[str, QuestionFigures]:
    """Figures of every question; with verdicts by `judge`, else by the run's own judge."""
    found = _values_of(run, judge)
    asked = {question: run.find(question) for question in dict.fromkeys(q for of in found.values() for q in of)}
    return {
        name: QuestionFigures(
            question.user_id,
            question.rubric.hops,
            {metric: fmean(by_question[name]) for metric, by_question in found.items() if name in by_question},
            question.category,
        )
        for name, question in asked.items()
    }


def mean(selection: Selection) -> Interval:
    values = (value for by_question in selection.values().values() for value in by_question.values())
    kind = kind_of(values) if selection.metric in FRACTIONS else "any"
    return _over([selection], lambda totals: _means(totals, 0), kind)


def difference(one: Selection, other: Selection) -> Interval:
    """The first minus the second, question by question and seed by seed."""
    return _over([one, other], lambda totals: _means(totals, 0) - _means(totals, 1))


def ratio(one: Selection, other: Selection) -> Interval:
    """The first divided by the second."""
    return _over([one, other], lambda totals: _means(totals, 0) / _means(totals, 1))


def _values_of(run: RecordedRun, judge: str | None) -> Values:
    """Values of the personalised episodes, or of the baselines where the agent plays no others."""
    kinds, baselines = Counter[str](), dict[Place, float | None]()
    for trajectory in run.trajectories(judge):
        kinds[trajectory.kind] += 1
        if trajectory.kind == "baseline":
            baselines[place_of(trajectory)] = score_of(trajectory)
    wanted = "personalised" if kinds["personalised"] else "baseline"
    recorded = any(name in run.settings for name in ("imported", "served"))  # there may be no more to come
    if wanted == "baseline" and kinds["baseline"] and run.settings["agent"] != "none" and not recorded:
        raise DataError(f"{run.run.path} holds no episode with the profile yet, only baselines: finish the run first")
    found: Values = {metric: {} for metric in METRICS}
    for trajectory in run.trajectories(judge):
        if trajectory.kind == wanted:
            _add(found, run, trajectory, baselines if wanted == "personalised" else {})
    return found


def _add(found: Values, run: RecordedRun, trajectory: Trajectory, baselines: Mapping[Place, float | None]) -> None:
    for metric, value in figures(trajectory, run.find(trajectory.question_id), baselines):
        if metric in found and value is not None:
            found[metric].setdefault(trajectory.question_id, []).append(float(value))


def _means(totals: Sums, place: int) -> Sums:
    means: Sums = totals[:, 2 * place] / totals[:, 2 * place + 1]
    return means


def _over(selections: Sequence[Selection], statistic: Statistic, kind: Kind = "any") -> Interval:
    """Selections with the same hops are restricted to the questions that all of them have."""
    found = [selection.values() for selection in selections]
    seeds = [seed for seed in found[0] if all(seed in values for values in found)]
    if len({selection.hops for selection in selections}) == 1:
        found = [{seed: _common(values, found, seed) for seed in seeds} for values in found]
    seeds = [seed for seed in seeds if all(values[seed] for values in found)]
    user_of = {
        name: selection.runs[seed][name].user
        for selection, values in zip(selections, found, strict=True)
        for seed in seeds
        for name in values[seed]
    }
    row = {user: number for number, user in enumerate(sorted(set(user_of.values())))}
    sums = np.zeros((len(seeds), len(row), 2 * len(selections)))
    for at, seed in enumerate(seeds):
        for place, values in enumerate(found):
            for question, value in values[seed].items():
                sums[at, row[user_of[question]], 2 * place : 2 * place + 2] += (value, 1)
    return over_seeds(sums, statistic, int(sums[..., 1].sum()), kind)


def _common(
    values: Mapping[int, Mapping[str, float]], others: Sequence[Mapping[int, Mapping[str, float]]], seed: int
) -> dict[str, float]:
    return {name: value for name, value in values[seed].items() if all(name in other[seed] for other in others)}
