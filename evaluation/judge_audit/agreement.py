"""Agreement of two judgements of the same answers, aspect by aspect."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...envs.reward import Verdict
from ..intervals import Interval, Sums, bootstrap, mean, share

LEVELS = 3  # an aspect is matched 0, 1 or 2
_DISTANCE = np.array([[(i - j) ** 2 for j in range(LEVELS)] for i in range(LEVELS)], float)

Pair = tuple[str, Verdict, Verdict]  # the user, and the two verdicts on one answer


@dataclass(frozen=True, slots=True)
class Agreement:
    """`confusion[i][j]` counts the aspects matched i by the first judgement and j by the second.

    `kappa` is Cohen's with quadratic weights: 1 is full agreement, 0 is chance; its mean is None where both judgements
    are constant and equal. `shift` is the second score minus the first.
    """

    same: Interval
    kappa: Interval
    shift: Interval
    confusion: tuple[tuple[int, ...], ...]


def agreement(pairs: Iterable[Pair]) -> Agreement:
    pairs = list(pairs)
    rows = _tables(pairs)
    confusion = tuple(tuple(int(count) for count in row) for row in rows.sum(0).reshape(LEVELS, LEVELS))
    n = sum(map(sum, confusion))
    return Agreement(share(_same(rows)), bootstrap(rows, _kappa, n), mean(_shifts(pairs)), confusion)


def _tables(pairs: Sequence[Pair]) -> Sums:
    """A row per user: the flat confusion matrix."""
    tables: dict[str, Sums] = {}
    for user, first, second in pairs:
        table = tables.setdefault(user, np.zeros((LEVELS, LEVELS)))
        for one, other in zip(first.aspects, second.aspects, strict=True):
            table[one.match, other.match] += 1
    return np.array([table.ravel() for table in tables.values()]).reshape(-1, LEVELS * LEVELS)


def _shifts(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    shifts: dict[str, list[float]] = defaultdict(list)
    for user, first, second in pairs:
        shifts[user].append(second.score - first.score)
    return shifts


def _same(rows: Sums) -> Sums:
    """A row per user: the number of aspects judged alike, and of all aspects."""
    return np.stack([rows[:, :: LEVELS + 1].sum(1), rows.sum(1)], 1)


def _kappa(rows: Sums) -> Sums:
    tables = rows.reshape(-1, LEVELS, LEVELS)
    by_chance = np.einsum("ri,rj->rij", tables.sum(2), tables.sum(1)) / tables.sum((1, 2))[:, None, None]
    found: Sums = (tables * _DISTANCE).sum((1, 2))
    expected: Sums = (by_chance * _DISTANCE).sum((1, 2))
    return 1 - found / expected
