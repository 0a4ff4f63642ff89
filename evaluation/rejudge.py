"""Scores a run's answers after the run, beside every verdict that was there before."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ..envs.data import QuestionSet, load_questions
from ..envs.reward import Reward, Verdict
from ..envs.trajectory import Trajectory
from ..errors import DataError, OptionError
from ..rewards.judge import Judge
from ..rewards.registry import make_judge
from .judging import Case, Judgement, close, count_reason, judgements
from .run import RunDirectory
from .verdicts import Key, LateVerdict, VerdictWriter, healing, key_of, verdicts_of

Watch = Callable[[int, int], object]  # how many are judged, of how many


@dataclass(frozen=True, slots=True)
class Waiting:
    """An answer that the judge is to be asked about."""

    key: Key
    data: str
    question_id: str
    answer: str
    unscored: bool  # there is no verdict at all yet, not even another judge's


@dataclass(slots=True)
class Outcome:
    """What a rejudging did."""

    judge: str
    own: bool  # whether it is the judge of the run itself
    scored: int = 0
    healed: int = 0  # of these, those whose missing verdict this now is
    reasons: Counter[str] = field(default_factory=Counter)  # why answers could not be scored
    known: int = 0  # had this judge's verdict before
    without_answer: int = 0  # ended by an error of ours before there was anything to judge


async def rejudge(
    run: RunDirectory, judge: str | Judge | None = None, *, everything: bool = False, watch: Watch = lambda *_: None
) -> Outcome:
    """Without `judge`, the run's own one is asked about what has no verdict; another one, about every answer.

    So is the run's own with `everything`. Each verdict is kept as soon as it is had, beside the old ones: nothing is
    overwritten, and a run that was killed goes on where it stopped.
    """
    spec = _chosen(run) if judge is None else judge
    made: Judge = make_judge(spec)
    outcome = Outcome(made.name, _is_own(run, spec, made.name))
    waiting = list(_waiting(run, outcome, everything))
    sets = {data: load_questions(data) for data in {one.data for one in waiting}}
    try:
        with VerdictWriter(run.path) as writer:
            async for judgement in judgements(made, _cases(waiting, sets)):
                writer.write(_noted(judgement, outcome))
                watch(outcome.scored + outcome.reasons.total(), len(waiting))
    finally:
        await close(made)
    return outcome


def healed(run: RunDirectory, trajectories: Iterable[Trajectory]) -> Iterator[Trajectory]:
    """The trajectories, with the newest verdict that the run's own judge gave later where it had given none.

    A reward that is only the score is filled in; of any other, the score becomes a part and the total stays unknown.
    """
    later, only_score = verdicts_of(run.path), _is_only_the_score(run.settings.get("reward"))
    for trajectory in trajectories:
        late = healing(later.get(key_of(trajectory), ())) if trajectory.verdict is None else None
        yield _filled(trajectory, late.verdict, only_score) if late and late.verdict else trajectory


def own_judge(run: RunDirectory) -> str | None:
    """The judge that the run was asked for, else the only one that spoke in it."""
    named = run.settings.get("judge")
    if isinstance(named, str):
        return named
    names = {trajectory.verdict.judge for trajectory in run.trajectories() if trajectory.verdict}
    return names.pop() if len(names) == 1 else None


def _chosen(run: RunDirectory) -> str:
    judge = own_judge(run)
    if judge is None:
        raise OptionError(f"{run.path} names no judge of its own: name one, --judge rubric or --judge openai:MODEL")
    return judge


def _is_own(run: RunDirectory, spec: str | Judge, name: str) -> bool:
    """Options aside; a run that has no judge yet takes whoever is asked first."""
    own = own_judge(run)
    return own is None or spec == own or name == own.partition(",")[0]


def _waiting(run: RunDirectory, outcome: Outcome, everything: bool) -> Iterator[Waiting]:
    segment_tokens = {
        key for key, late in verdicts_of(run.path).items() if outcome.judge in {one.judge for one in late}
    }
    for trajectory in run.trajectories():
        key, verdict = key_of(trajectory), trajectory.verdict
        if has_nothing_to_judge(trajectory):
            outcome.without_answer += 1
        elif key in segment_tokens or (verdict and verdict.judge == outcome.judge and not everything):
            outcome.known += 1
        else:
            segment_tokens.add(key)
            yield Waiting(key, _data_of(trajectory), trajectory.question_id, trajectory.answer or "", verdict is None)


def has_nothing_to_judge(trajectory: Trajectory) -> bool:
    """An error of ours ended it before there was an answer. One that ran out of turns gave an empty answer, worth 0."""
    return trajectory.answer is None and trajectory.ended in (None, "error")


def _data_of(trajectory: Trajectory) -> str:
    if trajectory.data is None:
        raise DataError(
            f"trajectory {trajectory.id!r} does not say what data its question is from: it cannot be judged"
        )
    return trajectory.data


def _cases(waiting: Iterable[Waiting], sets: dict[str, QuestionSet]) -> Iterator[Case[Waiting]]:
    return (Case(one, sets[one.data].find(one.question_id), one.answer) for one in waiting)


def _noted(judgement: Judgement[Waiting], outcome: Outcome) -> LateVerdict:
    """Counts it, and gives the line to keep."""
    one, verdict = judgement.case.key, judgement.verdict
    if verdict is None:
        count_reason(outcome.reasons, str(judgement.unscored))
    else:
        outcome.scored += 1
        outcome.healed += one.unscored and outcome.own
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return LateVerdict(*one.key, outcome.judge, outcome.own, verdict, judgement.unscored, at)


def _is_only_the_score(reward: object) -> bool:
    return reward is None or str(reward).partition(":")[0] in ("rubric", "score")


def _filled(trajectory: Trajectory, verdict: Verdict, only_score: bool) -> Trajectory:
    """A copy; what the reward could tell without the verdict stays."""
    old = trajectory.reward or Reward(None)
    if old.total is not None:
        reward = replace(old, verdict=verdict)
    elif only_score:
        reward = Reward(verdict.score, {"score": verdict.score}, verdict, flags=old.flags)
    else:
        parts = {**old.parts, "score": verdict.score}
        reward = Reward(None, parts, verdict, "scored later; what else it was made of is not known", old.flags)
    return replace(trajectory, verdict=verdict, reward=reward)
