"""Compares groups of runs, question by question, on the questions that all of them have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..errors import DataError, OptionError
from .intervals import Interval
from .judge_scores import scored_by
from .multi_seed import BySeed, QuestionFigures, Selection, difference, mean, question_figures
from .recorded_run import RecordedRun
from .run_groups import RunGroups

COMPARED = (
    *("score", "gain", "searches", "evidence", "evidence_precision", "evidence_ndcg", "session_evidence"),
    *("needless", "harm", "over_personalised", "structure"),
)
BY_CATEGORY = ("score", "gain", "evidence")
ANY = "any"  # each run's own judge, even if they differ


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of one group, and its difference to the reference, over questions with that figure in all groups."""

    metric: str
    run: str
    figure: Interval
    difference: Interval | None  # None for the reference
    category: str | None = None  # of the questions; None for all


@dataclass(frozen=True, slots=True)
class Bounds:
    """The mean difference in score over all common questions, with unscored ones at their worst and at their best."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`common` questions are in every run; `not_common` and `unscored` count the other ones of each group.

    `bounds` of a group are given where it or the reference has unscored questions, and scores lie from 0 to 1.
    `by_category` is empty where the common questions have fewer than two categories.
    """

    judge: str
    runs: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]  # compared
    common: int
    users: int
    not_common: dict[str, int]
    unscored: dict[str, int]
    bounds: dict[str, Bounds]
    settings: dict[str, tuple[Any, ...]]  # with different values
    rows: tuple[Row, ...]
    by_category: tuple[Row, ...] = ()


def compare(groups: RunGroups, judge: str | None = None) -> Comparison:
    """The first group is the reference. Refuses different data, and different judges unless `judge` names one."""
    _on_the_same_data(groups)
    judged = {name: _judge_of(runs) if judge in (None, ANY) else str(judge) for name, runs in groups.items()}
    if judge is None:
        _by_the_same_judge(judged)
    played = _at_common_seeds(_figures(groups, None if judge == ANY else judge))
    asked = {name: {q for answers in runs.values() for q in answers} for name, runs in played.items()}
    common = set.intersection(*(set(answers) for runs in played.values() for answers in runs.values()))
    if not common:
        raise DataError(f"{', '.join(groups)} have no question in common: run them with the same --data and --limit")
    played = {name: Selection(runs).restricted_to(common).runs for name, runs in played.items()}
    reference = next(iter(played))
    answers = next(iter(played[reference].values()))
    return Comparison(
        ", ".join(dict.fromkeys(judged.values())),
        tuple(groups),
        {name: tuple(runs) for name, runs in played.items()},
        len(common),
        len({answered.user for answered in answers.values()}),
        {name: len(questions - common) for name, questions in asked.items()},
        {name: len(_unscored(runs)) for name, runs in played.items()},
        {name: found for name in played if name != reference and (found := _bounds(played[name], played[reference]))},
        _differing({name: next(iter(runs.values())).settings for name, runs in groups.items()}),
        tuple(row for metric in COMPARED for row in _rows(metric, played, common)),
        tuple(_by_category(played, answers)),
    )


def _on_the_same_data(groups: RunGroups) -> None:
    (first, reference), *others = ((name, next(iter(runs.values()))) for name, runs in groups.items())
    for name, run in others:
        if _data(run) != _data(reference):
            raise OptionError(
                f"{first} is on {_data(reference)}, {name} on {_data(run)}: "
                "only runs on the same data can be compared question by question"
            )
        if "imported" in run.settings:
            _with_the_same_questions(run, reference)


def _with_the_same_questions(run: RecordedRun, reference: RecordedRun) -> None:
    """Another framework's ids may be mere numbers, which other questions have, too."""
    for name in set(run.questions.ids) & set(reference.questions.ids):
        if run.questions.find(name).text != reference.questions.find(name).text:
            raise OptionError(
                f"{reference.run.path} and {run.run.path} each hold a question {name!r}, and not the same one: "
                "import runs on the same data"
            )


def _data(run: RecordedRun) -> str:
    """An imported run's questions are in its own directory."""
    return "imported questions" if "imported" in run.settings else str(run.settings["data"])


def _by_the_same_judge(judged: Mapping[str, str]) -> None:
    (first, reference), *others = judged.items()
    for name, judge in others:
        if judge != reference:
            raise OptionError(
                f"{first} was judged by {reference}, {name} by {judge}: scores by different judges cannot be compared. "
                f"Use one judge, profilegym rejudge {name} --judge {reference}, then compare with "
                f"--judge {reference}; or --judge {ANY} to compare them nevertheless"
            )


def _judge_of(runs: Mapping[int, RecordedRun]) -> str:
    verdicts = (one.verdict for run in runs.values() for one in run.trajectories())
    judges = {verdict.judge for verdict in verdicts if verdict is not None}
    return scored_by(next(iter(runs.values())).settings, judges)


def _figures(groups: RunGroups, judge: str | None) -> Mapping[str, BySeed]:
    found = {name: {seed: question_figures(run, judge) for seed, run in runs.items()} for name, runs in groups.items()}
    for name, runs in found.items():
        for seed, answers in runs.items():
            if judge and not any("score" in answered.values for answered in answers.values()):
                path = groups[name][seed].run.path
                raise DataError(f"{path} holds no verdict of {judge}: profilegym rejudge {path} --judge {judge}")
    return found


def _at_common_seeds(played: Mapping[str, BySeed]) -> dict[str, BySeed]:
    """For groups of several runs, only the runs with seeds that all such groups have."""
    several = {name: set(runs) for name, runs in played.items() if len(runs) > 1}
    seeds = set.intersection(*several.values()) if several else set[int]()
    if several and not seeds:
        told = "; ".join(f"{name} has {', '.join(map(str, sorted(own)))}" for name, own in several.items())
        raise OptionError(f"differences are computed seed by seed, and these groups have no seed in common: {told}")
    return {
        name: {seed: runs[seed] for seed in runs if seed in seeds or name not in several}
        for name, runs in played.items()
    }


def _pair(one: BySeed, other: BySeed) -> tuple[BySeed, BySeed]:
    """Both with the same seeds: a single run is repeated for every seed of the other group."""
    seeds = max(one, other, key=len)
    first, second = (runs if len(runs) > 1 else dict.fromkeys(seeds, *runs.values()) for runs in (one, other))
    return first, second


def _unscored(runs: BySeed) -> set[str]:
    return {name for answers in runs.values() for name, answered in answers.items() if "score" not in answered.values}


def _bounds(runs: BySeed, reference: BySeed) -> Bounds | None:
    scores = [
        value for side in (runs, reference) for known in Selection(side).values().values() for value in known.values()
    ]
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
    """The mean difference with unknown scores of the first group at `first`, of the second at `second`."""
    return fmean((first if one is None else one) - (second if other is None else other) for one, other in pairs)


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for one in settings.values() for name in one)
    told = {name: tuple(one.get(name) for one in settings.values()) for name in names}
    return {name: values for name, values in told.items() if any(value != values[0] for value in values)}


def _by_category(played: Mapping[str, BySeed], answers: Mapping[str, QuestionFigures]) -> Iterator[Row]:
    by_category: dict[str, set[str]] = {}
    for question, answered in answers.items():
        if answered.category is not None:
            by_category.setdefault(answered.category, set()).add(question)
    for category in sorted(by_category) if len(by_category) > 1 else ():
        for metric in BY_CATEGORY:
            yield from _rows(metric, played, by_category[category], category)


def _rows(metric: str, played: Mapping[str, BySeed], common: set[str], category: str | None = None) -> list[Row]:
    """A group without the figure has no row, and removes no question from the others."""
    known = {
        name: values for name, runs in played.items() if any((values := Selection(runs, metric).values()).values())
    }
    questions = {q for q in common if all(q in values for runs in known.values() for values in runs.values())}
    groups = {name: Selection(played[name], metric).restricted_to(questions) for name in known}
    reference = groups.get(next(iter(played)))
    return [
        Row(
            metric,
            name,
            mean(side),
            None if reference is None or side is reference else _difference_of(side, reference),
            category,
        )
        for name, side in groups.items()
    ]


def _difference_of(side: Selection, reference: Selection) -> Interval:
    one, other = _pair(side.runs, reference.runs)
    return difference(Selection(one, side.metric), Selection(other, side.metric))
