"""LaMP's metrics of labels and ratings, by the rules of its own evaluation."""

from collections.abc import Sequence
from math import isfinite, sqrt
from statistics import fmean

from ..errors import DataError
from .reference import ByReference


def accuracy(answers: Sequence[str], references: Sequence[str]) -> float:
    return fmean([answer.strip() == reference.strip() for answer, reference in _pairs(answers, references)])


def macro_f1(answers: Sequence[str], references: Sequence[str], labels: Sequence[str]) -> float:
    """The mean over all labels of the task: one that never occurs counts 0; an unknown answer is simply wrong."""
    pairs = [(answer.strip(), reference.strip()) for answer, reference in _pairs(answers, references)]
    return fmean([_f1(pairs, label) for label in labels])


def mae(answers: Sequence[str], references: Sequence[str]) -> float:
    return fmean([rating_error(*pair) for pair in _pairs(answers, references)])


def rmse(answers: Sequence[str], references: Sequence[str]) -> float:
    return sqrt(fmean([rating_error(*pair) ** 2 for pair in _pairs(answers, references)]))


def rating_error(answer: str, reference: str) -> float:
    """An answer that is no number counts as the farther of 1 and 5, so that saying nothing never pays."""
    true = _number(reference)
    if true is None:
        raise DataError(f"the reference {reference!r} is no rating: mae and rmse are for LaMP-3")
    rating = _number(answer)
    farther = 1.0 if abs(1 - true) > abs(5 - true) else 5.0
    return abs((farther if rating is None else rating) - true)


def match() -> ByReference:
    """1 for exactly the reference, white space around it aside; else 0."""
    return ByReference(_match)


def rating() -> ByReference:
    """The distance to the true rating, below zero."""
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
    """`nan` and `inf` are numbers to Python only."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _pairs(answers: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    if not references or len(answers) != len(references):
        raise DataError(f"{len(answers)} answers for {len(references)} references: give as many, and at least one")
    return list(zip(answers, references, strict=True))
