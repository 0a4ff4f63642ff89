"""Options of `profilegym judge`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import AsJson, Data, On

app = typer.Typer(name="judge", help="Measure how reliable a judge is.", no_args_is_help=True)


@app.command()
def audit(
    judge: Annotated[str, typer.Option(help="Judge to audit: rubric, openai:MODEL,cache=FILE …")],
    data: Data,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of questions, spread over the set.")] = 50,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.html and audit.json.")] = None,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Measure a judge on answers of known quality: agreement, biases, prompt injection, cost and time.

    Example: profilegym judge audit --judge rubric --data world:users=100/test --out audit
    """
    from ..judge import run_audit

    raise typer.Exit(run_audit(judge, data, limit, out, as_json, on))
