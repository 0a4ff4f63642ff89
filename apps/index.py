"""`profilegym index`: builds a BM25 index of a data set's profiles that many processes share."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import Progress

from ..envs.data import QuestionSet, load_questions
from ..envs.retrieval.bm25 import postings
from ..envs.retrieval.store import FILE, StoreWriter, encode
from .options import is_quiet

_CHUNK = 200  # questions that a worker takes at a time
Block = tuple[bytes, bytes]


def index(spec: str, out: Path) -> None:
    """Index every profile of the data set once. After an interruption, run it again."""
    console, start = Console(), perf_counter()
    count = len(load_questions(spec))
    with Progress(console=console, disable=is_quiet()) as progress, StoreWriter(out) as writer:
        task = progress.add_task(f"indexing {spec}", total=count)
        for done, blocks in _blocks(spec, count):
            for digest, block in blocks:
                writer.add(digest, block)
            progress.advance(task, done)
    size, seconds = (out / FILE).stat().st_size, perf_counter() - start
    console.print(f"{len(writer):,} users, {size / 1e6:,.1f} MB, {seconds:,.1f} s. Use it with: bm25:store={out}")


def _blocks(spec: str, count: int) -> Iterator[tuple[int, list[Block]]]:
    """In the order of the questions, one worker per core, with a bounded number of pending chunks."""
    ranges = iter([range(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK)])
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [(chunk, pool.submit(_index_range, spec, chunk)) for chunk in islice(ranges, 2 * workers)]
        while waiting:
            chunk, future = waiting.pop(0)
            yield len(chunk), future.result()
            waiting += [(chunk, pool.submit(_index_range, spec, chunk)) for chunk in islice(ranges, 1)]


def _index_range(spec: str, positions: range) -> list[Block]:
    questions = _open(spec)
    profiles = {question.profile.digest: question.profile for question in map(questions.__getitem__, positions)}
    return [(digest, encode(postings(profile))) for digest, profile in profiles.items()]


@cache
def _open(spec: str) -> QuestionSet:
    return load_questions(spec)
