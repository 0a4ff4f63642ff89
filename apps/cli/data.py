"""Options of `profilegym data`."""

import typer

from .shared import AsJson, DataSpec

app = typer.Typer(name="data", help="Show or validate a data set.", no_args_is_help=True)


@app.command()
def show(spec: DataSpec, as_json: AsJson = False) -> None:
    """Print sizes, distributions, an example, and how many documents were left out as leaks.

    Example: profilegym data show world:seed=7,users=50
    """
    from ..data import show

    show(spec, as_json)


@app.command()
def validate(spec: DataSpec, as_json: AsJson = False) -> None:
    """Read every record and print what is wrong. Exit code 1 if anything is.

    Example: profilegym data validate lamp-qa:Art_and_Entertainment_test.json
    """
    from ..data import validate

    raise typer.Exit(validate(spec, as_json))
