"""Options of `profilegym index`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import DataSpec


def index(
    spec: DataSpec,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("profiles.bm25"),
    on: Annotated[
        str | None,
        typer.Option(
            help="Workers: local:N for processes, ray or ray:ADDRESS,workers=N for actors. Default: a process a core."
        ),
    ] = None,
) -> None:
    """Build memory-mapped BM25 indexes of all profiles of a data set, in shards of users, to be shared by processes.

    Run it again after an interruption: it builds what is missing.

    Example: profilegym index world:users=1000 --out world.bm25; then name the retriever bm25:store=world.bm25
    """
    from ..index import index

    index(spec, out, on)
