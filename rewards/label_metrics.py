"""Rewards and metrics that compare an answer with its reference; labels and ratings as LaMP evaluates them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean
from typing import ClassVar

from ..envs.episode import Episode
from ..envs.reward import Reward
from ..errors import DataError

Measure = Callable[[str, str], Mapping[str, float]]  # of an answer and its reference


@dataclass(frozen=True)
class ByReference:
    """The sum of the measured values; unscored where the question has no reference."""

    measure: Measure
    parts_sum: ClassVar = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> Reward:
        reference = episode.question.rubric.reference
        if reference is None:
            return Reward(
                None, unscored=f"question {episode.question.id!r} has no reference to compare the answer with"
            )
        parts = self.measure((episode.answer or "").strip(), reference.strip())
        return Reward(sum(parts.values()), parts)


def accuracy(answers: Sequence[str], references: Sequence[str]) -> float:
    return fmean([answer.strip() == reference.strip() for answer, reference in pairs_of(answers, references)])


def macro_f1(answers: Sequence[str], references: Sequence[str], labels: Sequence[str]) -> float:
    """The mean F1 over all labels of the task; a label that never occurs counts 0, an unknown answer is wrong."""
    pairs = [(answer.strip(), reference.strip()) for answer, reference in pairs_of(answers, references)]
    return fmean([_f1(pairs, label) for label in labels])


def mae(answers: Sequence[str], references: Sequence[str]) -> float:
    return fmean([rating_error(*pair) for pair in pairs_of(answers, references)])


def rmse(answers: Sequence[str], references: Sequence[str]) -> float:
    return sqrt(fmean([rating_error(*pair) ** 2 for pair in pairs_of(answers, references)]))


def rating_error(answer: str, reference: str) -> float:
    """The absolute error; an answer that is no rating from 1 to 5 counts as 1 or 5, whichever is farther.

    LaMP takes any number, so one answer such as 1e200 would be the mean of a run, and outweigh a GRPO group.
    """
    true = _number(reference)
    if true is None:
        raise DataError(f"the reference {reference!r} is no number: mae and rmse need ratings, as LaMP-3 has")
    rating = _number(answer)
    if rating is not None and not 1 <= rating <= 5:
        rating = None
    farther = 1.0 if abs(1 - true) > abs(5 - true) else 5.0
    return abs((farther if rating is None else rating) - true)


def match() -> ByReference:
    """1 where the answer equals the reference, ignoring surrounding white space, else 0."""
    return ByReference(_match)


def rating() -> ByReference:
    """Minus the absolute error of a rating."""
    return ByReference(_rating)


def _match(answer: str, reference: str) -> dict[str, float]:
    return {"match": float(answer == reference)}


def _rating(answer: str, reference: str) -> dict[str, float]:
    return {"mae": -rating_error(answer, reference)}


def _f1(pairs: Sequence[tuple[str, str]], label: str) -> float:
    true = sum(answer == label == reference for answer, reference in pairs)
    given = sum(answer == label for answer, _ in pairs)
    right = sum(reference == label for _, reference in pairs)
    return 2 * true / (given + right) if given + right else 0.0


def _number(text: str) -> float | None:
    """None for text that is no finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def pairs_of(answers: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    if not references or len(answers) != len(references):
        raise DataError(f"{len(answers)} answers for {len(references)} references: give as many, and at least one")
    return list(zip(answers, references, strict=True))
