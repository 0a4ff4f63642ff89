"""Runs beside each other: what differs on the questions that all of them played, question by question."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..envs.errors import DataError, OptionError
from ..envs.trajectory import Trajectory
from .evaluate import default_reward
from .intervals import Interval, mean
from .played import PlayedRun
from .summary import Place, figures, place_of, score_of

COMPARED = ("score", "gain", "searches", "evidence", "structure")
ANY = "any"  # each run's own judge, though they differ
Values = dict[str, dict[str, list[float]]]  # by metric and by question


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one run, and how much more that is than the reference's; over questions with a figure in all."""

    metric: str
    run: str
    figure: Interval
    difference: Interval | None  # None for the reference


@dataclass(frozen=True, slots=True)
class Comparison:
    """`common` questions were played in every run; of the others each run's number is told."""

    judge: str
    runs: tuple[str, ...]
    common: int
    users: int
    not_common: dict[str, int]
    settings: dict[str, tuple[Any, ...]]  # those that differ
    rows: tuple[Row, ...]


def compare(runs: Mapping[str, PlayedRun], judge: str | None = None) -> Comparison:
    """The first run is the reference. Refuses other data, and scores by other judges unless `judge` names one."""
    _on_the_same_data(runs)
    judged = {name: _judge_of(run) if judge in (None, ANY) else judge for name, run in runs.items()}
    if judge is None:
        _by_the_same_judge(judged)
    played = {name: values_of(run, None if judge == ANY else judge) for name, run in runs.items()}
    _scored(played, judge)
    asked = {name: set(values["searches"]) for name, values in played.items()}
    common = set.intersection(*asked.values())
    if not common:
        raise DataError(f"{', '.join(runs)} have no question in common: play the same --data and --limit")
    first = next(iter(runs.values()))
    user_of = {question: first.find(question).user_id for question in sorted(common)}
    return Comparison(
        ", ".join(dict.fromkeys(judged.values())),
        tuple(runs),
        len(common),
        len(set(user_of.values())),
        {name: len(questions - common) for name, questions in asked.items()},
        _differing({name: run.settings for name, run in runs.items()}),
        tuple(row for metric in COMPARED for row in _rows(metric, played, user_of)),
    )


def _on_the_same_data(runs: Mapping[str, PlayedRun]) -> None:
    (first, reference), *others = runs.items()
    for name, run in others:
        if run.settings["data"] != reference.settings["data"]:
            raise OptionError(
                f"{first} is on {reference.settings['data']}, {name} on {run.settings['data']}: "
                "only runs on the same data can be compared question by question"
            )


def _by_the_same_judge(judged: Mapping[str, str]) -> None:
    (first, reference), *others = judged.items()
    for name, judge in others:
        if judge != reference:
            raise OptionError(
                f"{first} was judged by {reference}, {name} by {judge}: scores by different judges are no comparison. "
                f"Let one judge all, profilegym rejudge {name} --judge {reference}, then compare with "
                f"--judge {reference}; or say --judge {ANY} to set them beside each other all the same"
            )


def _scored(played: Mapping[str, Values], judge: str | None) -> None:
    for name, values in played.items():
        if judge not in (None, ANY) and not values["score"]:
            raise DataError(f"{name} holds no verdict of {judge}: profilegym rejudge {name} --judge {judge}")


def _judge_of(run: PlayedRun) -> str:
    judges = {trajectory.verdict.judge for trajectory in run.trajectories() if trajectory.verdict is not None}
    return ", ".join(sorted(judges)) or run.settings["judge"] or default_reward(run.settings["data"])


def values_of(run: PlayedRun, judge: str | None = None, metrics: Sequence[str] = COMPARED) -> Values:
    """Of the personalised episodes, or of the baselines where there is nothing else."""
    kinds, baselines = Counter[str](), dict[Place, float | None]()
    for trajectory in run.trajectories(judge):
        kinds[trajectory.kind] += 1
        if trajectory.kind == "baseline":
            baselines[place_of(trajectory)] = score_of(trajectory)
    wanted = "personalised" if kinds["personalised"] else "baseline"
    found: Values = {metric: {} for metric in metrics}
    for trajectory in run.trajectories(judge):
        if trajectory.kind == wanted:
            _add(found, run, trajectory, baselines if wanted == "personalised" else {})
    return found


def _add(found: Values, run: PlayedRun, trajectory: Trajectory, baselines: Mapping[Place, float | None]) -> None:
    for metric, value in figures(trajectory, run.find(trajectory.question_id), baselines):
        if metric in found and value is not None:
            found[metric].setdefault(trajectory.question_id, []).append(float(value))


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for one in settings.values() for name in one)
    told = {name: tuple(one.get(name) for one in settings.values()) for name in names}
    return {name: values for name, values in told.items() if any(value != values[0] for value in values)}


def _rows(metric: str, played: Mapping[str, Values], user_of: Mapping[str, str]) -> list[Row]:
    """A run that never has the figure has no row, and takes no question from the others."""
    known = {name: values[metric] for name, values in played.items() if values[metric]}
    questions = [question for question in user_of if all(question in values for values in known.values())]
    means = {name: {question: fmean(values[question]) for question in questions} for name, values in known.items()}
    reference = means.pop(next(iter(played)), None)
    rows = [Row(metric, next(iter(played)), _over(user_of, reference), None)] if reference is not None else []
    for name, by_question in means.items():
        less = {question: by_question[question] - reference[question] for question in questions} if reference else None
        rows.append(Row(metric, name, _over(user_of, by_question), None if less is None else _over(user_of, less)))
    return rows


def _over(user_of: Mapping[str, str], by_question: Mapping[str, float]) -> Interval:
    by_user: dict[str, list[float]] = {}
    for question, value in by_question.items():
        by_user.setdefault(user_of[question], []).append(value)
    return mean(by_user)
