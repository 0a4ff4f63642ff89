"""`profilegym index`: builds BM25 indexes of a data set's profiles that many processes share, in shards of users."""

import os
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from .._util.counted import counted
from ..fleet.indexing import build_store
from .options import is_quiet


def index(spec: str, out: Path, on: str | None = None) -> None:
    """Index every profile of the data set once. After an interruption, run it again: it builds what is missing."""
    console, start = Console(markup=False), perf_counter()
    with Progress(console=console, disable=is_quiet()) as progress:
        task = progress.add_task(escape(f"indexing {spec}"), total=None)
        place = on or f"local:{os.cpu_count() or 1}"
        built = build_store(spec, out, place, lambda done, all_: progress.update(task, completed=done, total=all_))
    if not built.new:
        console.print(f"{out} held all shards of {spec} already: to build them anew, remove it", soft_wrap=True)
    size, seconds = sum(path.stat().st_size for path in built.shards), perf_counter() - start
    console.print(
        f"{counted(built.users, 'user')} in {counted(len(built.shards), 'shard')}, {size / 1e6:,.1f} MB, "
        f"{seconds:,.1f} s. Use it with: bm25:store={out}",
        soft_wrap=True,
    )
