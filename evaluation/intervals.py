"""Means with 95 % confidence intervals; the units are people, as one person's questions are not independent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from math import sqrt
from statistics import NormalDist, stdev
from typing import Any, Literal

import numpy as np

Sums = np.ndarray[Any, np.dtype[np.float64]]
Statistic = Callable[[Sums], Sums]  # maps rows of totals to values
Kind = Literal["any", "fraction", "share"]  # a fraction lies between 0 and 1; a share is a mean of zeros and ones

LEAST = 5  # people; fewer have no interval
FEW = 40  # people; fewer get bootstrap-t
RESAMPLES, _CHUNK = 2_000, 50
_REMEMBERED = 200  # people; draws of more are too large to cache
BRACKETS = f"In brackets: the 95 % interval, and the number of people that it is over; none below {LEAST} people."
_TAILS = 20  # draws of t for each draw of people, for its long tails
_WITHOUT_SPREAD = 0.01  # of the draws of few people may have no variance
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over `n` values of `people` persons, with its 95 % confidence interval.

    `mean` is None where nothing was measured, `low` and `high` also below five people. `people` is None in summaries
    written before it was recorded.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    people: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def kind_of(values: Iterable[float]) -> Kind:
    """Whether values from 0 to 1 are zeros and ones alone; "any" for values outside."""
    found = np.fromiter(values, float)
    if not ((found >= 0) & (found <= 1)).all():
        return "any"
    return "share" if np.isin(found, (0.0, 1.0)).all() else "fraction"


def mean(values: Mapping[str, Sequence[float]], fraction: bool = False) -> Interval:
    """The mean of all values, given by user. `fraction`: they should lie between 0 and 1."""
    groups = [group for group in values.values() if group]
    kind = kind_of(value for group in groups for value in group) if fraction else "any"
    sums = np.array([[sum(group), len(group)] for group in groups], float).reshape(-1, 2)
    return bootstrap(sums, ratio, sum(map(len, groups)), kind)


def macro_mean(groups: Sequence[Mapping[str, Sequence[float]]], fraction: bool = False) -> Interval:
    """The mean over groups of the mean of each; values are given by group and user."""
    users = {user: row for row, user in enumerate(dict.fromkeys(user for group in groups for user in group))}
    sums = np.zeros((len(users), 2 * len(groups)))
    for place, group in enumerate(groups):
        for user, values in group.items():
            sums[users[user], 2 * place : 2 * place + 2] = sum(values), len(values)
    inside = fraction and kind_of(value for group in groups for values in group.values() for value in values) != "any"
    return bootstrap(sums, _macro, int(sums[:, 1::2].sum()), "fraction" if inside else "any")


def _macro(totals: Sums) -> Sums:
    found: Sums = (totals[:, ::2] / totals[:, 1::2]).mean(1)
    return found


def share(sums: Sums) -> Interval:
    """`sums` has a row per user: the count of successes and of trials."""
    return bootstrap(sums, ratio, int(sums[:, 1].sum()), "share")


def ratio(totals: Sums) -> Sums:
    """The first total over the second one."""
    found: Sums = totals[:, 0] / totals[:, 1]
    return found


def bootstrap(sums: Sums, statistic: Statistic, n: int, kind: Kind = "any") -> Interval:
    """`sums` has a row of sums per user; the statistic takes rows of their totals."""
    return over_seeds(sums[None], statistic, n, kind)


def over_seeds(sums: Sums, statistic: Statistic, n: int, kind: Kind = "any") -> Interval:
    """`sums` has for each seed a row of sums per user: the same figure by several seeds, of the same people."""
    if not sums.size:
        return Interval(None, None, None, 0, 0)
    people = sums.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        value, *by_seed = statistic(np.array([sums.sum((0, 1)), *sums.sum(1)]))
        if not np.isfinite([value, *by_seed]).all():
            return Interval(None, None, None, n, people)
        places = _plausible(sums.sum(0), statistic, float(value), n, kind) if people >= LEAST else np.empty(0)
    if not places.size:
        return Interval(float(value), None, None, n, people)
    low, high = np.percentile(_over_seeds_t(places, by_seed), (2.5, 97.5), method="hazen")
    if kind != "any":
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(float(value), float(low), float(high), n, people)


def _plausible(sums: Sums, statistic: Statistic, value: float, n: int, kind: Kind) -> Sums:
    """Equally likely values of the figure; empty where the interval is undefined.

    Methods chosen by simulation (studies/coverage.py): Wilson for shares, bootstrap-t for few people, else percentiles.
    """
    people = len(sums)
    at_an_end = min(abs(value), abs(1 - value)) < _ROUNDING
    if kind != "any" and at_an_end:  # without variance in the sample, Wilson's interval
        return _wilson(round(value), people, _normal())
    if kind == "share":
        error = max(_error(sums, statistic), sqrt(value * (1 - value) / n))  # at least the error of independent values
        return _wilson(value, value * (1 - value) / error**2, _student(people - 1))
    if people < FEW:
        return _studentized(sums, statistic, value, kind)
    found = statistic(_resampled(sums))
    return found[np.isfinite(found)]


def _studentized(sums: Sums, statistic: Statistic, value: float, kind: Kind) -> Sums:
    """Bootstrap-t; where many draws have no variance, Student's t or Wilson."""
    error, counts = _error(sums, statistic), _draws(len(sums))
    if not np.isfinite(error):
        return np.empty(0)
    if error <= _ROUNDING * max(1.0, abs(value)):
        return np.full(RESAMPLES, value)
    totals = counts @ sums
    errors = _errors(totals, counts, sums, statistic)
    off = (statistic(totals) - value) / errors
    known = np.isfinite(off) & (errors > _ROUNDING * error)
    if known.mean() >= 1 - _WITHOUT_SPREAD:
        return value - error * off[known]
    student = _student(len(sums) - 1)
    return _wilson(value, value * (1 - value) / error**2, student) if kind == "fraction" else value + error * student


def _error(sums: Sums, statistic: Statistic) -> float:
    return float(_errors(sums.sum(0)[None], np.ones((1, len(sums))), sums, statistic)[0])


def _errors(totals: Sums, counts: Sums, sums: Sums, statistic: Statistic) -> Sums:
    """The jackknife's standard error of each row of totals; `counts` says how often each person is in a row."""
    people = len(sums)
    without = statistic((totals[:, None] - sums).reshape(-1, sums.shape[1])).reshape(-1, people)
    without = np.where(counts > 0, without, 0.0)
    middle = (counts * without).sum(1, keepdims=True) / people
    errors: Sums = np.sqrt((people - 1) / people * (counts * (without - middle) ** 2).sum(1))
    return errors


def _wilson(value: float, size: float, off: Sums) -> Sums:
    """Wilson's values for a share of `size` independent values, at the given standard errors."""
    square = off**2 / size
    found: Sums = (value + square / 2 + off * np.sqrt((value * (1 - value) + square / 4) / size)) / (1 + square)
    return found


@cache
def _normal() -> Sums:
    """Equally likely values of the standard normal distribution."""
    chances = (np.arange(RESAMPLES) + 0.5) / RESAMPLES
    return np.array([NormalDist().inv_cdf(chance) for chance in chances])


@lru_cache(64)
def _student(freedom: int) -> Sums:
    """The same for Student's t, by the Cornish-Fisher expansion: within 0.3 % from 4 degrees of freedom."""
    z = _normal()
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _over_seeds_t(places: Sums, by_seed: Sequence[float]) -> Sums:
    """Adds the uncertainty over seeds by Student's t, as they are too few to resample; one seed adds none."""
    if len(by_seed) < 2:
        return places
    error = stdev(by_seed) / sqrt(len(by_seed))
    moved: Sums = places + error * np.random.default_rng(0).standard_t(len(by_seed) - 1, (_TAILS, len(places)))
    return moved


@lru_cache(16)
def _draws(people: int) -> Sums:
    """How often each person is in each resample, drawn with replacement."""
    return np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), RESAMPLES).astype(float)


def _resampled(sums: Sums) -> Sums:
    """The totals of the resamples, a few at a time where there are many users."""
    if len(sums) <= _REMEMBERED:
        return _draws(len(sums)) @ sums
    generator, even = np.random.default_rng(0), np.full(len(sums), 1 / len(sums))
    chunks = [generator.multinomial(len(sums), even, _CHUNK) @ sums for _ in range(RESAMPLES // _CHUNK)]
    return np.concatenate(chunks)


def reach(found: Interval, digits: int = 3, scale: float = 1.0, sign: str = "", unit: str = " people") -> str:
    """The interval, or that there is none, and the number of people, in brackets."""
    if found.mean is None:
        return ""
    if found.low is None or found.high is None:
        return f"[no interval; {found.people}{unit}]"
    people = "" if found.people is None else f"; {found.people:,}{unit}"
    return f"[{scale * found.low:{sign}.{digits}f}, {scale * found.high:{sign}.{digits}f}{people}]"


def half(found: Interval, digits: int, told: int | None = None) -> str:
    """Half the width of an interval, and the number of people unless it equals `told`; for narrow tables."""
    people = "" if found.people in (None, told) else f"({found.people:,})"
    return " ".join(filter(None, (_width(found, digits), people)))


def _width(found: Interval, digits: int) -> str:
    """For a figure at one end of its interval, the other end."""
    if found.mean is None or found.low is None or found.high is None:
        return ""
    up, down = found.high - found.mean, found.mean - found.low
    if up < _ROUNDING < down:
        return f"≥{found.low:.{digits}f}"
    if down < _ROUNDING < up:
        return f"≤{found.high:.{digits}f}"
    return f"±{(up + down) / 2:.{digits}f}"


def spread(found: Interval | None, digits: int = 3, sign: str = "", unit: str = " people") -> str:
    """A mean and its interval; a dash where nothing was measured."""
    if found is None or found.mean is None:
        return "–"
    return f"{found.mean:{sign}.{digits}f} {reach(found, digits, sign=sign, unit=unit)}"
