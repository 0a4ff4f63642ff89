"""Options of `profilegym retrieval`."""

from importlib.util import find_spec
from typing import Annotated

import typer

from ...errors import MissingExtra
from .shared import Data, Retriever

app = typer.Typer(name="retrieval", help="Search people's histories for other programs.", no_args_is_help=True)


@app.callback()
def retrieval() -> None:
    """Search people's histories for other programs."""


@app.command()
def serve(
    data: Data,
    retriever: Retriever = "bm25",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses a free one.")] = 8000,
) -> None:
    """Serve searches over HTTP in Search-R1's form: POST /retrieve with queries, topk and profile_ids (users).

    Example: profilegym retrieval serve --data world:users=1000 --retriever bm25:store=world.bm25
    """
    if not all(map(find_spec, ("starlette", "uvicorn"))):
        raise MissingExtra("profilegym retrieval serve", "view")
    from ..serve_retrieval import serve

    serve(data, retriever, port)
