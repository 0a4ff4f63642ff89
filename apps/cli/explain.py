"""Options of `profilegym explain`."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import OptionError
from .shared import AsJson


def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    models: Annotated[Path, typer.Option(help="Folder of user models, as the agent rpm writes it.")] = Path(
        "runs/rpm-models"
    ),
    data: Annotated[str | None, typer.Option(help="Data set with the user's posts.")] = None,
    model: Annotated[
        str | None, typer.Option(help="With --data: model that builds a missing user model: openai:MODEL …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print RPM's model of a user: factors, the user's responses to them, and reasoning paths of past responses.

    Example: profilegym explain world-lamp-3-0-000007 --data world-lamp-3/test --model scripted:world
    """
    from ..explain import run_explain

    if model and not data:
        raise OptionError("--model builds a user model from posts and needs them: add --data DATA")
    run_explain(user, models, data, model, as_json)
