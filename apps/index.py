"""`profilegym index`: builds BM25 indexes of a data set's profiles that many processes share, in shards of users."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..envs.data import QuestionSet, load_questions
from ..envs.retrieval.bm25 import postings
from ..envs.retrieval.sharded_store import Manifest, begin, shard_of, shard_path
from ..envs.retrieval.store import Store, StoreWriter, encode
from ..errors import DataError
from ..fleet.mapping import Found, Items, Work, map_on
from .options import is_quiet


def index(spec: str, out: Path, on: str | None = None) -> None:
    """Index every profile of the data set once. After an interruption, run it again: it builds what is missing."""
    console, start = Console(), perf_counter()
    questions = load_questions(spec)
    manifest = Manifest.of(spec, len(questions))
    begin(out, manifest)
    missing = manifest.missing(out)
    if missing:
        asyncio.run(_build(questions, manifest, missing, out.absolute(), on or f"local:{os.cpu_count() or 1}", console))
    elif not is_quiet():
        console.print(f"{out} holds all shards of {spec} already; to build them anew, remove it")
    paths = _shards(out, manifest)
    users = sum(len(Store(path, manifest.command(out))) for path in paths)
    size, seconds = sum(path.stat().st_size for path in paths), perf_counter() - start
    console.print(
        f"{users:,} users in {len(paths):,} shards, {size / 1e6:,.1f} MB, {seconds:,.1f} s. "
        f"Use it with: bm25:store={out}"
    )


async def _build(
    questions: QuestionSet, manifest: Manifest, missing: Sequence[int], out: Path, on: str, console: Console
) -> None:
    orders = _Orders(questions, manifest, missing)
    make = partial(_indexing, manifest.data, str(out))
    with Progress(console=console, disable=is_quiet()) as progress:
        done = manifest.shards - len(missing)
        task = progress.add_task(f"indexing {manifest.data}", total=manifest.shards, completed=done)
        async with aclosing(map_on(on, make, orders, map(str, missing), largest=1)) as found:
            async for _ in found:
                progress.advance(task)


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


def _shards(out: Path, manifest: Manifest) -> list[Path]:
    if missing := manifest.missing(out):
        raise DataError(
            f"the workers built {len(missing)} shards that are not here, such as {shard_path(out, missing[0])}: "
            "--out must be a folder that all machines share"
        )
    return [shard_path(out, number) for number in range(manifest.shards)]
