"""Options of `profilegym train`."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import Changes


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="YAML file, or a name that `profilegym recipes` lists.")
    ],
    changes: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/ and the recipe's name.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the recipe and print its costs without training.")
    ] = False,
) -> None:
    """Train a policy from a recipe. Run again after an interruption, it resumes from the newest checkpoint.

    Example: profilegym train world/recipes/pr2-world.yaml optimiser.steps=20
    """
    from ..train import run_train

    run_train(recipe, changes or [], out, dry_run)
