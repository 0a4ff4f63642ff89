"""The command line. Each command's options are in a module of this package; its work is imported when it runs."""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ..._util.keys import hidden
from ..._util.terminal import printable
from ...errors import ProfileGymError
from ..options import set_verbosity
from . import (
    bench,
    check,
    compare,
    data,
    doctor,
    explain,
    import_run,
    index,
    judge,
    model,
    plan,
    play,
    recipes,
    rejudge,
    replay,
    retrieval,
    serve,
    train,
    view,
)
from .eval import evaluate

app = typer.Typer(
    name="profilegym",
    help="A text environment in which a language model answers a person's question by searching that person's history.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train.train,
    "eval": evaluate,
    "play": play.play,
    "view": view.view,
    "compare": compare.compare,
    "replay": replay.replay,
    "rejudge": rejudge.rejudge,
    "explain": explain.explain,
    "import": import_run.import_run,
    "index": index.index,
    "plan": plan.plan,
    "recipes": recipes.recipes,
    "doctor": doctor.doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
for group in (data.app, check.app, judge.app, model.app, bench.app, retrieval.app, serve.app):
    app.add_typer(group)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ... import __version__

        typer.echo(f"profilegym {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print log messages to stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress bars and warnings.")] = False,
) -> None:
    set_verbosity(verbose, quiet)


def main() -> None:
    """Run the command. An error of this package, or of a file, is printed in one line; any other is a bug."""
    # OpenMP threads that wait spin before they sleep. On a shared machine a short spin is 2 to 5 times as fast as the
    # default (docs/experiments.md). Must be set before the first import of torch.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app(prog_name="profilegym")
    except ProfileGymError as error:
        sys.exit(f"profilegym: {printable(hidden(str(error)))}")
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"profilegym: {printable(hidden(f'{error.filename}: {error.strerror}'))}")
