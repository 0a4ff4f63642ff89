"""Figures with their 95 % intervals. Questions of one person are no independent draws: people are drawn anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import stdev
from typing import Any

import numpy as np

Sums = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES, _CHUNK = 2_000, 50
_TAILS = 20  # draws of t for each draw of people, as its tails are long
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over `n` values, and where it lies with 95 % confidence; None where nothing was measured."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def mean(values: Mapping[str, Sequence[float]]) -> Interval:
    """Of all values, which are given by user."""
    groups = [group for group in values.values() if group]
    sums = np.array([[sum(group), len(group)] for group in groups], float).reshape(-1, 2)
    return bootstrap(sums, lambda total: total[:, 0] / total[:, 1], sum(map(len, groups)))


def bootstrap(sums: Sums, statistic: Callable[[Sums], Sums], n: int) -> Interval:
    """`sums` has a row of sums for each user; the statistic takes rows of their totals."""
    return over_seeds(sums[None], statistic, n)


def over_seeds(sums: Sums, statistic: Callable[[Sums], Sums], n: int) -> Interval:
    """`sums` has for each seed a row of sums for each user: the same figure had several times, of the same people."""
    if not sums.size:
        return Interval(None, None, None, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, *by_seed = statistic(np.array([sums.sum((0, 1)), *sums.sum(1)]))
        spread = statistic(_resampled(sums.sum(0)))
    if not np.isfinite([value, *by_seed]).all():
        return Interval(None, None, None, n)
    low, high = np.percentile(_moved(spread[np.isfinite(spread)], by_seed), (2.5, 97.5))
    return Interval(float(value), float(low), float(high), n)


def _moved(spread: Sums, by_seed: Sequence[float]) -> Sums:
    """Seeds are too few to be drawn anew: their mean is as uncertain as Student's t has it; one alone tells nothing."""
    if len(by_seed) < 2:
        return spread
    error = stdev(by_seed) / sqrt(len(by_seed))
    moved: Sums = spread + error * np.random.default_rng(0).standard_t(len(by_seed) - 1, (_TAILS, len(spread)))
    return moved


def _resampled(sums: Sums) -> Sums:
    """The totals of as many draws of users, with replacement, a few draws at a time as there may be many users."""
    generator, even = np.random.default_rng(0), np.full(len(sums), 1 / len(sums))
    chunks = [generator.multinomial(len(sums), even, _CHUNK) @ sums for _ in range(RESAMPLES // _CHUNK)]
    return np.concatenate(chunks)


def share(count: int, n: int) -> Interval:
    """Wilson's interval: none of 20 does not mean never."""
    if not n:
        return Interval(None, None, None, 0)
    at, square = count / n, _Z * _Z
    middle = (at + square / (2 * n)) / (1 + square / n)
    reach = _Z * sqrt(at * (1 - at) / n + square / (4 * n * n)) / (1 + square / n)
    return Interval(at, max(0.0, middle - reach), min(1.0, middle + reach), n)
