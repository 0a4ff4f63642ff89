"""Options of `profilegym view`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ...errors import MissingExtra, OptionError


def view(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN_DIR", help="Run directories, or folders of them. Default: ./runs."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses a free one.")] = 0,
    redact: Annotated[bool, typer.Option("--redact", help="Leave profile texts out of every export.")] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Show runs in the browser: follow a live run, step through trajectories, branch, compare, play.

    Example: profilegym view runs/pr2-pilot
    """
    folders = runs or [Path("runs")]
    if not all(map(find_spec, ("fastapi", "uvicorn", "jinja2"))):
        raise MissingExtra("profilegym view", "view")
    for folder in folders:
        if not folder.is_dir():
            raise OptionError(
                f"{folder} is not a directory: name one that holds runs, or make one with profilegym eval"
            )
    from ..view.server import serve

    serve(folders, port, redact, open_browser)
