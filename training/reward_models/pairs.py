"""Pairs of answers to one question from recorded runs: with the user's profile, with none, and with another user's."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from typing import Literal

from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ...errors import DataError
from ...evaluation.recorded_run import RecordedRun
from ...evaluation.summary import Place, place_of, score_of

Profile = Literal["own", "none", "another"]  # whose profile the agent saw


@dataclass(frozen=True)
class Pair:
    """Two answers to a question, the better one first."""

    question: Question
    better: str
    worse: str
    contrast: str = "own > none"


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer and its score."""

    text: str
    score: float | None


def pairs_of(runs: Sequence[RecordedRun], order: Sequence[Profile], confirmed: bool = False) -> list[Pair]:
    """All pairs of different, non-empty answers of one model to one question in the same attempt.

    Of several runs that have the same such answer, the first counts.
    """
    answers: dict[tuple[Place, str], dict[Profile, ScoredAnswer]] = {}
    questions: dict[str, Question] = {}
    for run in runs:
        for trajectory in run.trajectories():
            place = place_of(trajectory)
            given = ScoredAnswer((trajectory.answer or "").strip(), score_of(trajectory))
            answers.setdefault((place, trajectory.model or ""), {}).setdefault(_profile(trajectory, run), given)
            questions[place[0]] = run.questions.find(place[0])
    return [
        Pair(questions[question], found[better].text, found[worse].text, f"{better} > {worse}")
        for ((question, _), _), found in sorted(answers.items(), key=lambda one: one[0])
        for better, worse in combinations(order, 2)
        if better in found and worse in found and _is_usable(found[better], found[worse], confirmed)
    ]


def _is_usable(better: ScoredAnswer, worse: ScoredAnswer, confirmed: bool) -> bool:
    if not better.text or not worse.text or better.text == worse.text:
        return False
    if not confirmed:
        return True
    return better.score is not None and worse.score is not None and better.score > worse.score


def split_by_user(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Training pairs and held-out pairs, of different users; the split is a hash of the user id."""
    learned = [pair for pair in pairs if _fraction_of(pair.question.user_id) >= share]
    held_out = [pair for pair in pairs if _fraction_of(pair.question.user_id) < share]
    if not learned or not held_out:
        raise DataError(
            f"{len(learned)} training pairs and {len(held_out)} held-out pairs: both are needed; "
            "play more questions, or change held_out"
        )
    return learned, held_out


def _profile(trajectory: Trajectory, run: RecordedRun) -> Profile:
    if trajectory.kind == "baseline" or run.profile == "empty":
        return "none"
    return "own" if run.profile == "own" else "another"


def _fraction_of(user: str) -> float:
    return int.from_bytes(blake2b(user.encode(), digest_size=4).digest()) / 2**32
