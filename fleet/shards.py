"""Shards of a run: the questions of a few users, played by one worker."""

from collections.abc import Iterable
from dataclasses import dataclass

LARGEST = 16  # questions in a shard, unless one user has more
PER_WORKER = 32  # shards for each worker at least, where there are so many users: the last ones are played side by side


@dataclass(frozen=True, slots=True)
class Shard:
    """`positions` are those of its questions in the data set."""

    number: int
    positions: tuple[int, ...]


def split(users: Iterable[str], workers: int, largest: int = LARGEST) -> list[Shard]:
    """Shards of the questions whose users these are, in order. All questions of a user are in one shard."""
    asked: dict[str, list[int]] = {}
    for position, user in enumerate(users):
        asked.setdefault(user, []).append(position)
    size = max(1, min(largest, sum(map(len, asked.values())) // (PER_WORKER * workers)))
    shards, positions = list[Shard](), list[int]()
    for own in asked.values():
        if positions and len(positions) + len(own) > size:
            shards.append(Shard(len(shards), tuple(positions)))
            positions = []
        positions += own
    return [*shards, Shard(len(shards), tuple(positions))] if positions else shards
