"""Judges a run's answers after the run; old verdicts are kept."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .._util.keys import key_option, without_keys
from ..envs.data import QuestionSet, load_questions
from ..envs.trajectory import Trajectory
from ..errors import DataError, OptionError, ProfileGymError
from ..rewards.judge import Judge
from ..rewards.registry import make_judge
from .judging import Case, Judgement, Judging, close, count_reason, judge_all
from .late_verdicts import Key, LateVerdict, VerdictWriter, read_verdicts, verdict_key
from .run import RunDirectory
from .summary import score_of

Progress = Callable[[int, int], object]  # how many are judged, and of how many


@dataclass(frozen=True, slots=True)
class _Pending:
    """An answer to judge."""

    key: Key
    data: str
    question_id: str
    answer: str
    unscored: bool  # has no score yet, not even another judge's or a metric's


@dataclass(slots=True)
class Outcome:
    """The counts of a rejudging."""

    judge: str
    own: bool  # whether it is the run's own judge
    scored: int = 0
    healed: int = 0  # of these, those that had no score before
    reasons: Counter[str] = field(default_factory=Counter)  # why answers could not be scored
    known: int = 0  # had this judge's verdict already
    without_answer: int = 0  # ended by an error of ours before there was an answer


async def rejudge(
    run: RunDirectory,
    judge: str | Judge | None = None,
    *,
    everything: bool = False,
    progress: Progress = lambda *_: None,
    judging: Judging = judge_all,
) -> Outcome:
    """The run's own judge is asked about answers without a verdict; another judge, or `everything`, about all.

    Each verdict is appended as soon as it is there. Nothing is overwritten; after an interruption, a second call
    continues. `judging` says where the judge works.
    """
    spec = chosen_judge(run) if judge is None else judge
    made: Judge = make_judge(spec)
    outcome = Outcome(made.name, await _is_own(run, spec, made.name))
    pending = list(_pending(run, outcome, everything))
    sets = {data: load_questions(data) for data in {one.data for one in pending}}
    try:
        with VerdictWriter(run.path) as writer:
            async for judgement in judging(made, _cases(pending, sets)):
                writer.write(_noted(judgement, outcome))
                progress(outcome.scored + outcome.reasons.total(), len(pending))
    finally:
        await close(made)
    return outcome


def own_judge(run: RunDirectory) -> str | None:
    """The judge in the run's settings, else the only one with verdicts in it."""
    named = run.settings.get("judge")
    if isinstance(named, str):
        return named
    names = {trajectory.verdict.judge for trajectory in run.trajectories() if trajectory.verdict}
    return names.pop() if len(names) == 1 else None


def chosen_judge(run: RunDirectory) -> str:
    """The run's own judge. A run without one is an error."""
    judge = own_judge(run)
    if judge is None:
        raise OptionError(f"{run.path} has no judge of its own: name one, --judge rubric or --judge openai:MODEL")
    return judge


async def _is_own(run: RunDirectory, spec: str | Judge, name: str) -> bool:
    """By its name, as options may choose another prompt. Of a run that nothing scored, the first judge is its own."""
    own = run.settings.get("judge")
    if names := _judges(run):
        return names == {name}
    if isinstance(own, str):
        key = key_option(spec) if isinstance(spec, str) else ""  # the run's settings have none
        return without_keys(spec) == own or await _name(own + key) == name
    return all(score_of(trajectory) is None for trajectory in run.trajectories())


def _judges(run: RunDirectory) -> set[str]:
    """The judges with verdicts in the run, else those that filled its gaps later."""
    late = (one for verdicts in read_verdicts(run.path).values() for one in verdicts)
    recorded = {trajectory.verdict.judge for trajectory in run.trajectories() if trajectory.verdict}
    return recorded or {one.judge for one in late if one.own}


async def _name(spec: str) -> str | None:
    """None where this judge cannot be made, as its files or its key are not here."""
    try:
        made = make_judge(spec)
    except ProfileGymError:
        return None
    await close(made)
    return made.name


def _pending(run: RunDirectory, outcome: Outcome, everything: bool) -> Iterator[_Pending]:
    done = {key for key, late in read_verdicts(run.path).items() if outcome.judge in {one.judge for one in late}}
    for trajectory in run.trajectories():
        key, verdict = verdict_key(trajectory), trajectory.verdict
        if has_nothing_to_judge(trajectory):
            outcome.without_answer += 1
        elif key in done or (verdict and verdict.judge == outcome.judge and not everything):
            outcome.known += 1
        else:
            done.add(key)
            answer, unscored = trajectory.answer or "", score_of(trajectory) is None
            yield _Pending(key, _data_of(trajectory), trajectory.question_id, answer, unscored)


def has_nothing_to_judge(trajectory: Trajectory) -> bool:
    """Whether an error of ours ended it before there was an answer. Out of turns is an empty answer, which scores 0."""
    return trajectory.answer is None and trajectory.ended in (None, "error")


def _data_of(trajectory: Trajectory) -> str:
    if trajectory.data is None:
        raise DataError(
            f"trajectory {trajectory.id!r} has no `data`: its question cannot be found, so it cannot be judged"
        )
    return trajectory.data


def _cases(pending: Iterable[_Pending], sets: dict[str, QuestionSet]) -> Iterator[Case[_Pending]]:
    return (Case(one, sets[one.data].find(one.question_id), one.answer) for one in pending)


def _noted(judgement: Judgement[_Pending], outcome: Outcome) -> LateVerdict:
    """Counts a judgement, and returns the line to write."""
    one, verdict = judgement.case.key, judgement.verdict
    if verdict is None:
        count_reason(outcome.reasons, str(judgement.unscored))
    else:
        outcome.scored += 1
        outcome.healed += one.unscored and outcome.own
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return LateVerdict(*one.key, outcome.judge, outcome.own, verdict, judgement.unscored, at)
