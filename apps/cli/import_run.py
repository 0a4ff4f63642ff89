"""Options of `profilegym import`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import AsJson


def import_run(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="inspect, search-r1, trl or verifiers.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File, or folder of files, that the framework wrote.")],
    out: Annotated[Path, typer.Option(help="Run directory to write.")],
    as_json: AsJson = False,
) -> None:
    """Import episodes of another framework, for `profilegym view`. Exit code 1 if a record could not be imported.

    Example: profilegym import verifiers outputs/my-run/traces.jsonl --out runs/imported
    """
    from ..import_run import run_import

    raise typer.Exit(run_import(form, path, out, as_json))
