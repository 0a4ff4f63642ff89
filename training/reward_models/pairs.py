"""Pairs of answers from our own rollouts: with the person's history, with nobody's, and with somebody else's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ...errors import DataError
from ...evaluation.recorded_run import RecordedRun
from ...evaluation.summary import Place, place_of, score_of

Profile = Literal["own", "none", "another"]  # whose history an answer was made with


@dataclass(frozen=True)
class Pair:
    """Two answers to a question, the better one first."""

    question: Question
    better: str
    worse: str
    contrast: str = "own > none"


@dataclass(frozen=True, slots=True)
class Given:
    """An answer, and what it was worth."""

    text: str
    score: float | None


def pairs_of(runs: Sequence[RecordedRun], order: Sequence[Profile], confirmed: bool = False) -> list[Pair]:
    """All that two answers to one question, in the same attempt, say; where one is empty, or both are one, nothing."""
    answers: dict[Place, dict[Profile, Given]] = {}
    questions: dict[str, Question] = {}
    for run in runs:
        for trajectory in run.trajectories():
            place = place_of(trajectory)
            given = Given((trajectory.answer or "").strip(), score_of(trajectory))
            answers.setdefault(place, {})[_profile(trajectory, run)] = given
            questions[place[0]] = run.questions.find(place[0])
    return [
        Pair(questions[question], found[better].text, found[worse].text, f"{better} > {worse}")
        for (question, _), found in sorted(answers.items(), key=lambda one: one[0])
        for better, worse in _ordered(order)
        if better in found and worse in found and _tells(found[better], found[worse], confirmed)
    ]


def _tells(better: Given, worse: Given, confirmed: bool) -> bool:
    if not better.text or not worse.text or better.text == worse.text:
        return False
    if not confirmed:
        return True
    return better.score is not None and worse.score is not None and better.score > worse.score


def by_person(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """To learn from, and to be examined with: nobody is in both, and who is where hangs on the person alone."""
    learned = [pair for pair in pairs if _lot(pair.question.user_id) >= share]
    held_out = [pair for pair in pairs if _lot(pair.question.user_id) < share]
    if not learned or not held_out:
        raise DataError(
            f"{len(learned)} pairs to learn from and {len(held_out)} of people held out: both are needed; "
            "play more questions, or hold out another share of the people"
        )
    return learned, held_out


def _profile(trajectory: Trajectory, run: RecordedRun) -> Profile:
    if trajectory.kind == "baseline" or run.profile == "empty":
        return "none"
    return "own" if run.profile == "own" else "another"


def _ordered(order: Sequence[Profile]) -> Iterator[tuple[Profile, Profile]]:
    for place, better in enumerate(order):
        for worse in order[place + 1 :]:
            yield better, worse


def _lot(user: str) -> float:
    return int.from_bytes(blake2b(user.encode(), digest_size=4).digest()) / 2**32
