"""A run's mean score by each judge or metric that scored it, and how far the judges agree."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..envs.reward import Verdict
from ..envs.trajectory import Kind
from ..errors import OptionError
from .evaluate import default_reward
from .intervals import Interval, mean
from .judge_audit.agreement import Agreement, agreement
from .late_verdicts import filling_verdict, read_verdicts, verdict_key
from .run import RunDirectory
from .summary import score_of


@dataclass(frozen=True, slots=True)
class JudgeMean:
    """A judge's or metric's mean over the episodes of one kind; unscored ones are counted and left out."""

    judge: str
    later: bool  # from late verdicts beside the run's own
    kind: Kind
    score: Interval
    unscored: int


@dataclass(frozen=True, slots=True)
class JudgeScores:
    """`beside`: the agreement of each judge's late verdicts with the run's own, where both have the same aspects."""

    means: list[JudgeMean]
    beside: dict[str, Agreement]
    bad_lines: int


@dataclass(frozen=True, slots=True)
class _Row:
    """One episode: the run's own verdict and score, and late verdicts by judge."""

    kind: Kind
    user_id: str
    own: Verdict | None
    score: float | None
    later: dict[str, Verdict]


def judge_scores(run: RunDirectory) -> JudgeScores:
    rows = list(_rows(run))
    asked = sorted({judge for row in rows for judge in row.later})
    beside = {judge: agreement(_pairs(rows, judge)) for judge in asked}
    return JudgeScores([*_own_means(rows, run.settings), *_later_means(rows, asked)], beside, len(run.bad_lines))


def scored_by(settings: Mapping[str, Any], judges: Iterable[str]) -> str:
    """What the scores of a run are of: the judges of its verdicts, else what its settings name."""
    if named := ", ".join(sorted(judges)):
        return named
    if "imported" in settings:
        return "the records' own rewards"
    if given := settings.get("judge") or settings.get("metric") or settings.get("reward"):
        return str(given)
    try:
        return default_reward(settings["data"])
    except (KeyError, OptionError):  # of episodes that another run played
        return "none"


def _rows(run: RunDirectory) -> Iterator[_Row]:
    later = read_verdicts(run.path)
    for trajectory in run.trajectories():
        late = later.get(verdict_key(trajectory), [])
        filling = filling_verdict(trajectory, later)
        beside = {one.judge: one.verdict for one in late if one is not filling and one.verdict}
        own = filling.verdict if filling else trajectory.verdict
        yield _Row(trajectory.kind, trajectory.user_id, own, score_of(replace(trajectory, verdict=own)), beside)


def _own_means(rows: Sequence[_Row], settings: Mapping[str, Any]) -> Iterator[JudgeMean]:
    named = scored_by(settings, {row.own.judge for row in rows if row.own})
    for kind in _kinds(rows):
        yield _mean(named, False, kind, [(row.user_id, row.score) for row in rows if row.kind == kind])


def _later_means(rows: Sequence[_Row], judges: Sequence[str]) -> Iterator[JudgeMean]:
    for judge in judges:
        for kind in _kinds(rows):
            found = [(row.user_id, row.later.get(judge)) for row in rows if row.kind == kind]
            yield _mean(judge, True, kind, [(user, None if one is None else one.score) for user, one in found])


def _kinds(rows: Sequence[_Row]) -> list[Kind]:
    return sorted({row.kind for row in rows}, reverse=True)


def _mean(judge: str, later: bool, kind: Kind, found: Sequence[tuple[str, float | None]]) -> JudgeMean:
    scores: dict[str, list[float]] = defaultdict(list)
    for user, score in found:
        if score is not None:
            scores[user].append(score)
    return JudgeMean(judge, later, kind, mean(scores, fraction=True), sum(score is None for _, score in found))


def _pairs(rows: Sequence[_Row], judge: str) -> Iterator[tuple[str, Verdict, Verdict]]:
    """Those by the same aspects: a judge may have its own, and a question's may have changed."""
    for row in rows:
        if row.own and (later := row.later.get(judge)) and len(row.own.aspects) == len(later.aspects):
            yield row.user_id, row.own, later
