"""Options of `profilegym serve`."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import MissingExtra
from .shared import Data, Judge, MaxSearches, MaxShown, Metric, Retriever, Tools, TopK

app = typer.Typer(name="serve", help="Serve an episode to other programs.", no_args_is_help=True)


@app.callback()
def serve() -> None:
    """Serve an episode to other programs."""


@app.command()
def mcp(
    data: Data = "world:seed=7/test",
    question: Annotated[str | None, typer.Option(help="Question id. Default: the first question.")] = None,
    user: Annotated[str | None, typer.Option(help="The first question of this user.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Serve on this port of 127.0.0.1; 0 chooses one. Default: stdin and stdout.")
    ] = None,
    tools: Annotated[
        str, typer.Option(help="Tools, joined by +, as of eval.", rich_help_panel="Episode")
    ] = "search_profile+read_around+latest",
    judge: Judge = None,
    metric: Metric = None,
    retriever: Retriever = "bm25",
    top_k: TopK = 3,
    max_searches: MaxSearches = 4,
    max_shown: MaxShown = None,
    out: Annotated[Path, typer.Option(help="Folder for finished episodes.")] = Path("runs/mcp"),
) -> None:
    """Offer one person's history and a question to an MCP client; its calls are an episode, which is recorded.

    Example: profilegym serve mcp --data world:seed=7/test --port 8000
    """
    if not all(map(find_spec, ("mcp", "uvicorn"))):
        raise MissingExtra("profilegym serve mcp", "mcp")
    import asyncio

    from ...evaluation.evaluate import Settings
    from ..play.session import PlaySession
    from ..serve_mcp import serve

    settings = Settings(
        data=data, judge=judge, retriever=retriever, top_k=top_k, max_searches=max_searches, protocol="tools",
        tools=tools, max_shown=max_shown, metric=metric,
    )  # fmt: skip
    session = PlaySession(settings, out, question_id=question, user=user)
    session.check()
    with suppress(KeyboardInterrupt):  # Ctrl-C is how to end it
        asyncio.run(serve(session, port))


@app.command()
def env(
    data: Data = "world:seed=7/test",
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the sessions. Default: this process alone.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port; 0 chooses a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    sessions: Annotated[int, typer.Option(min=1, help="Maximum sessions at a time, of all workers.")] = 256,
    idle: Annotated[float, typer.Option(help="Seconds until an idle session is ended.")] = 600.0,
    judge: Judge = None,
    metric: Metric = None,
    retriever: Retriever = "bm25",
    tools: Tools = None,
    top_k: TopK = 3,
    max_searches: MaxSearches = 4,
    max_shown: MaxShown = None,
    out: Annotated[Path | None, typer.Option(help="Record the episodes there, for profilegym view.")] = None,
) -> None:
    """Serve the environment to trainers by OpenEnv's server; its clients choose questions and play episodes.

    Example: profilegym serve env --data world:seed=7/train --workers 4
    """
    if not all(map(find_spec, ("openenv", "uvicorn"))):
        raise MissingExtra("profilegym serve env", "openenv")
    from ..serve_env import Served, serve

    options: dict[str, Any] = {"top_k": top_k, "max_searches": max_searches, "max_shown": max_shown}
    options |= {"tools": tools} if tools else {}
    served = Served(data, judge, retriever, sessions, idle, options, out, metric=metric)
    serve(served, workers, host, port)
