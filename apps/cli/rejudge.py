"""Options of `profilegym rejudge`."""

from typing import Annotated

import typer

from .shared import AsJson, On, RunDirectory


def rejudge(
    run: RunDirectory,
    judge: Annotated[str | None, typer.Option(help="Judge: rubric, openai:MODEL … Default: the run's own.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Judge every answer again, scored or not.")] = False,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Score a run's unscored answers, or all answers with another judge. Exit code 1 if any stays unscored.

    Example: profilegym rejudge runs/pr2 --judge openai:MODEL,cache=judge.sqlite
    """
    from ..rejudge import run_rejudge

    raise typer.Exit(run_rejudge(run, judge, everything, as_json, on))
