"""Builds a store of BM25 indexes on the workers of a place, a shard of users at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..envs.data import QuestionSet, load_questions
from ..envs.retrieval.bm25 import postings
from ..envs.retrieval.sharded_store import Manifest, building, shard_of, shard_path
from ..envs.retrieval.store import Store, StoreWriter, encode
from ..errors import DataError
from .mapping import Found, Items, Work, map_on

Progress = Callable[[int, int], None]  # shards that are there, and all


@dataclass(frozen=True, slots=True)
class Built:
    """A store: its users, its shards, and how many of these were missing before."""

    users: int
    shards: Sequence[Path]
    new: int


def build_store(spec: str, out: Path, on: str, progress: Progress = lambda *_: None) -> Built:
    """Builds the shards that are missing."""
    questions = load_questions(spec)
    manifest = Manifest.of(spec, len(questions))
    with building(out, manifest):
        missing = manifest.missing(out)
        progress(manifest.shards - len(missing), manifest.shards)
        if missing:
            asyncio.run(_build(questions, manifest, missing, out.absolute(), on, progress))
    paths = _shards(out, manifest)
    return Built(sum(len(Store(path, manifest.command(out))) for path in paths), paths, len(missing))


async def _build(
    questions: QuestionSet, manifest: Manifest, missing: Sequence[int], out: Path, on: str, progress: Progress
) -> None:
    orders, done = _Orders(questions, manifest, missing), manifest.shards - len(missing)
    make = partial(_indexing, manifest.data, str(out))
    async with aclosing(map_on(on, make, orders, map(str, missing), largest=1)) as found:
        async for _ in found:
            done += 1
            progress(done, manifest.shards)


class _Orders(Sequence[Any]):
    """For each missing shard its number and the positions of its questions; kept is one byte a question."""

    def __init__(self, questions: QuestionSet, manifest: Manifest, missing: Sequence[int]) -> None:
        numbers = (shard_of(questions.user_of(at), manifest.shards) for at in range(len(questions)))
        self._shards = np.fromiter(numbers, np.uint8, len(questions))
        self._missing = missing

    def __len__(self) -> int:
        return len(self._missing)

    def __getitem__(self, place: Any) -> Any:
        number = self._missing[place]
        return number, np.flatnonzero(self._shards == number)


def _indexing(spec: str, out: str, workers: int) -> Work:
    """A worker writes its shards itself: only the number of their users goes to the driver."""
    questions = load_questions(spec)

    async def work(items: Items) -> AsyncIterator[Found]:
        for place, (number, positions) in items.items():
            with StoreWriter(shard_path(Path(out), number)) as writer:
                for profile in (questions[position].profile for position in positions.tolist()):
                    if profile.digest not in writer:
                        writer.add(profile.digest, encode(postings(profile)))
                        await asyncio.sleep(0)  # the driver hears in time that this worker lives
            yield place, len(writer)

    return work


def _shards(out: Path, manifest: Manifest) -> Sequence[Path]:
    if missing := manifest.missing(out):
        raise DataError(
            f"the workers built {len(missing)} shards that are not here, such as {shard_path(out, missing[0])}: "
            "--out must be a folder that all machines share"
        )
    return [shard_path(out, number) for number in range(manifest.shards)]
