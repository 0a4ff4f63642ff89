"""Chance that is the same on every machine and in every Python."""

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

T = TypeVar("T")


def person_seed(seed: int, user: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{user}".encode(), digest_size=16).digest(), "big")


class Dice:
    """Only `Random.random` promises the same sequence in every version of Python, so everything is drawn from it."""

    def __init__(self, seed: int) -> None:
        self.roll = Random(seed).random

    def below(self, limit: int) -> int:
        return int(self.roll() * limit)

    def chance(self, probability: float) -> bool:
        return self.roll() < probability

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.roll() * len(items))]

    def other(self, items: Sequence[T], than: T) -> T:
        """One of the items, but not this one."""
        while (item := self.pick(items)) == than:
            pass
        return item

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Some of the items, in random order."""
        rest = list(items)
        return [rest.pop(int(self.roll() * len(rest))) for _ in range(count)]
