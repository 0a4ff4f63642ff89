"""Options of `profilegym replay`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...errors import OptionError
from .shared import AsJson, RunDirectory

Profile = Literal["own", "random", "empty"]


def replay(
    run: RunDirectory,
    retriever: Annotated[str | None, typer.Option(help="Another retriever: dense, path/to/file.py:factory …")] = None,
    top_k: Annotated[int | None, typer.Option(help="Documents shown per search. Default: as recorded.")] = None,
    profile: Annotated[Profile | None, typer.Option(help="Profile to search. Default: as recorded.")] = None,
    from_step: Annotated[
        int | None, typer.Option(help="Keep this many recorded turns per episode, and generate the rest again.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="With --from-step: another agent.")] = None,
    model: Annotated[str | None, typer.Option(help="With --from-step: another model.")] = None,
    out: Annotated[Path | None, typer.Option(help="With --from-step: run directory to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat recorded queries with another retriever, or generate a run's episodes again from a step on.

    Example: profilegym replay runs/pr2-pilot --retriever dense
    """
    from ..replay import run_replay, run_rerun

    if from_step is None and (agent or model or out):
        raise OptionError("--agent, --model and --out generate episodes again: say from which turn, --from-step N")
    if from_step is None:
        run_replay(run, retriever, top_k, profile, as_json)
    elif out is None:
        raise OptionError("--from-step writes a new run: name its directory, --out DIR")
    else:
        from ...evaluation.branch import Changes

        changes = Changes(from_step, agent, model, retriever, top_k, profile)
        raise typer.Exit(run_rerun(run, changes, out, as_json))
