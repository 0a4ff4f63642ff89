"""Options of `profilegym recipes`."""

from typing import Annotated

import typer

from .shared import AsJson, Changes


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Recipe to print in full.")] = None,
    changes: Changes = None,
    as_json: AsJson = False,
    accelerate: Annotated[
        bool,
        typer.Option("--accelerate", help="Print the path of the file for `accelerate launch` that fits the recipe."),
    ] = False,
) -> None:
    """List the recipes that come with the package, or print one with its comment and every setting resolved.

    Example: profilegym recipes pr2-world > mine.yaml
    """
    from ..recipes import run_recipes

    run_recipes(name, changes or [], as_json, accelerate)
