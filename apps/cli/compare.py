"""Options of `profilegym compare`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .shared import AsJson

Format = Literal["terminal", "markdown", "latex"]


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR DIR …",
            help="Run directories, the reference first; 'runs/a-*', quoted, for several seeds of one.",
        ),
    ],
    judge: Annotated[
        str | None,
        typer.Option(help="Compare the verdicts of this judge; any: each run's own, even if they differ."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Format of the table.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="HTML page to write, with a plot.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs, or several seeds of each, on the questions that all of them played, with intervals.

    Example: profilegym compare runs/pr2-pilot runs/none-pilot --format latex

    Example: profilegym compare 'runs/a-*' 'runs/b-*'
    """
    from ..compare import run_compare

    run_compare(runs, judge, form, out, as_json)
