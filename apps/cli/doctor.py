"""Options of `profilegym doctor`."""

import typer

from .shared import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Print versions, extras, GPU, Java, endpoint and disk space, and how to install what is missing.

    Example: profilegym doctor
    """
    from ..doctor import run_doctor

    raise typer.Exit(run_doctor(as_json))
