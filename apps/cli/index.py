"""Options of `profilegym index`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import DataSpec


def index(spec: DataSpec, out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("profiles.bm25")) -> None:
    """Build one memory-mapped BM25 index of all profiles of a data set, to be shared by processes.

    Example: profilegym index world:users=1000 --out world.bm25; then name the retriever bm25:store=world.bm25
    """
    from ..index import index

    index(spec, out)
