"""Random numbers reproducible across platforms and Python versions."""

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

T = TypeVar("T")


def user_seed(seed: int, user: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{user}".encode(), digest_size=16).digest(), "big")


class Rng:
    """Samples with `Random.random` alone, the only method with the same sequence in every Python version."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def choice(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def choice_except(self, items: Sequence[T], than: T) -> T:
        """One of the other items."""
        while (item := self.choice(items)) == than:
            pass
        return item

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Distinct items in random order."""
        rest = list(items)
        return [rest.pop(int(self.random() * len(rest))) for _ in range(count)]
