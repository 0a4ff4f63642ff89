"""Sides beside each other: what differs on the questions that all their runs played, question by question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..errors import DataError, OptionError
from .evaluate import default_reward
from .intervals import Interval
from .played import PlayedRun
from .seeded import Played, Side, less, mean, read
from .sides import Sides

COMPARED = ("score", "gain", "searches", "evidence", "structure")
ANY = "any"  # each run's own judge, though they differ


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one side, and how much more that is than the reference's; over questions with a figure in all."""

    metric: str
    run: str
    figure: Interval
    difference: Interval | None  # None for the reference


@dataclass(frozen=True, slots=True)
class Bounds:
    """The mean difference in score on all common questions, were those without a score worth the least or the most."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`common` questions were played in every run; of the others, and of those without a score, each side's number.

    `bounds` of a side are there where it or the reference has no score for a question, and scores lie from 0 to 1.
    """

    judge: str
    runs: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]  # that are compared
    common: int
    users: int
    not_common: dict[str, int]
    unscored: dict[str, int]
    bounds: dict[str, Bounds]
    settings: dict[str, tuple[Any, ...]]  # those that differ
    rows: tuple[Row, ...]


def compare(sides: Sides, judge: str | None = None) -> Comparison:
    """The first side is the reference. Refuses other data, and scores by other judges unless `judge` names one."""
    _on_the_same_data(sides)
    judged = {name: _judge_of(runs) if judge in (None, ANY) else str(judge) for name, runs in sides.items()}
    if judge is None:
        _by_the_same_judge(judged)
    played = _at_common_seeds(_played(sides, None if judge == ANY else judge))
    asked = {name: {q for answers in runs.values() for q in answers} for name, runs in played.items()}
    common = set.intersection(*(set(answers) for runs in played.values() for answers in runs.values()))
    if not common:
        raise DataError(f"{', '.join(sides)} have no question in common: play the same --data and --limit")
    played = {name: Side(runs).of(common).played for name, runs in played.items()}
    reference = next(iter(played))
    answers = next(iter(played[reference].values()))
    return Comparison(
        ", ".join(dict.fromkeys(judged.values())),
        tuple(sides),
        {name: tuple(runs) for name, runs in played.items()},
        len(common),
        len({answered.user for answered in answers.values()}),
        {name: len(questions - common) for name, questions in asked.items()},
        {name: len(_unscored(runs)) for name, runs in played.items()},
        {name: found for name in played if name != reference and (found := _bounds(played[name], played[reference]))},
        _differing({name: next(iter(runs.values())).settings for name, runs in sides.items()}),
        tuple(row for metric in COMPARED for row in _rows(metric, played, common)),
    )


def _on_the_same_data(sides: Sides) -> None:
    (first, reference), *others = ((name, next(iter(runs.values()))) for name, runs in sides.items())
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


def _judge_of(runs: Mapping[int, PlayedRun]) -> str:
    verdicts = (one.verdict for run in runs.values() for one in run.trajectories())
    judges = {verdict.judge for verdict in verdicts if verdict is not None}
    settings = next(iter(runs.values())).settings
    return ", ".join(sorted(judges)) or settings["judge"] or default_reward(settings["data"])


def _played(sides: Sides, judge: str | None) -> Mapping[str, Played]:
    found = {name: {seed: read(run, judge) for seed, run in runs.items()} for name, runs in sides.items()}
    for name, runs in found.items():
        for seed, answers in runs.items():
            if judge and not any("score" in answered.values for answered in answers.values()):
                path = sides[name][seed].run.path
                raise DataError(f"{path} holds no verdict of {judge}: profilegym rejudge {path} --judge {judge}")
    return found


def _at_common_seeds(played: Mapping[str, Played]) -> dict[str, Played]:
    """Of sides of several runs those with a seed that all such sides have."""
    several = {name: set(runs) for name, runs in played.items() if len(runs) > 1}
    seeds = set.intersection(*several.values()) if several else set[int]()
    if several and not seeds:
        told = "; ".join(f"{name} has {', '.join(map(str, sorted(own)))}" for name, own in several.items())
        raise OptionError(f"differences are taken seed by seed, and these have no seed in common: {told}")
    return {
        name: {seed: runs[seed] for seed in runs if seed in seeds or name not in several}
        for name, runs in played.items()
    }


def _pair(one: Played, other: Played) -> tuple[Played, Played]:
    """With the same seeds: a run that is alone stands beside every seed of the other side."""
    seeds = max(one, other, key=len)
    first, second = (runs if len(runs) > 1 else dict.fromkeys(seeds, *runs.values()) for runs in (one, other))
    return first, second


def _unscored(runs: Played) -> set[str]:
    return {name for answers in runs.values() for name, answered in answers.items() if "score" not in answered.values}


def _bounds(runs: Played, reference: Played) -> Bounds | None:
    scores = [value for side in (runs, reference) for known in Side(side).values().values() for value in known.values()]
    if not (_unscored(runs) | _unscored(reference)) or not all(0 <= score <= 1 for score in scores):
        return None
    pairs = [
        (one[seed][question].values.get("score"), other[seed][question].values.get("score"))
        for one, other in [_pair(runs, reference)]
        for seed in one
        for question in one[seed]
    ]
    return Bounds(_difference(pairs, 0.0, 1.0), _difference(pairs, 1.0, 0.0))


def _difference(pairs: Sequence[tuple[float | None, float | None]], first: float, second: float) -> float:
    """Where the first side's unknown scores are so much, and the second one's."""
    return fmean((first if one is None else one) - (second if other is None else other) for one, other in pairs)


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for one in settings.values() for name in one)
    told = {name: tuple(one.get(name) for one in settings.values()) for name in names}
    return {name: values for name, values in told.items() if any(value != values[0] for value in values)}


def _rows(metric: str, played: Mapping[str, Played], common: set[str]) -> list[Row]:
    """A side that never has the figure has no row, and takes no question from the others."""
    known = {name: values for name, runs in played.items() if any((values := Side(runs, metric).values()).values())}
    questions = {q for q in common if all(q in values for runs in known.values() for values in runs.values())}
    sides = {name: Side(played[name], metric).of(questions) for name in known}
    reference = sides.get(next(iter(played)))
    return [
        Row(metric, name, mean(side), None if reference is None or side is reference else _less(side, reference))
        for name, side in sides.items()
    ]


def _less(side: Side, reference: Side) -> Interval:
    one, other = _pair(side.played, reference.played)
    return less(Side(one, side.metric), Side(other, side.metric))
