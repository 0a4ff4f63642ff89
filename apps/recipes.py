"""`profilegym recipes`: lists the recipes of the package, or prints one with its comment and all settings resolved."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from .._util.terminal import printable
from ..errors import OptionError
from ..training.recipe import Recipe
from ..training.settings import head_of, read_settings, recipe_names
from ..training.stages import load_any


def run_recipes(name: str | None, changes: Sequence[str], as_json: bool = False, accelerate: bool = False) -> None:
    if accelerate:
        if name is None:
            raise OptionError("--accelerate needs the name of a recipe")
        print(accelerate_file(name, changes))  # noqa: T201 (for a command line)
        return
    if name is None:
        _list(as_json)
        return
    settings = load_any(name, changes).model_dump(mode="json")
    if as_json:
        Console().print_json(data=settings)
    else:
        print(head_of(name), yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), sep="", end="")  # noqa: T201 (to be saved)


def accelerate_file(name: str, changes: Sequence[str] = ()) -> str:
    """The path of the settings with which `accelerate launch` starts a recipe: FSDP2 where all weights learn apart
    from who writes the rollouts, else a copy of the weights for each process.
    """
    recipe = load_any(name, changes)
    if not isinstance(recipe, Recipe):
        raise OptionError(f"{name}: method={recipe.method} runs in one process; only grpo can have several")
    shards = recipe.generation.engine == "vllm-server" and recipe.lora is None
    return str(files("profilegym.training").joinpath("launch", "fsdp2.yaml" if shards else "ddp.yaml"))


def _list(as_json: bool) -> None:
    contents = {name: read_settings(name)[0] for name in recipe_names()}
    contents = {name: content for name, content in contents.items() if content.get("method") != "pilot"}  # make pilot
    if as_json:
        Console().print_json(data={name: content["about"] for name, content in contents.items()})
        return
    found = Table(box=box.SIMPLE_HEAD)
    for heading in ("recipe", "method", "about"):
        found.add_column(heading, overflow="fold")
    for name, content in contents.items():
        found.add_row(name, printable(_method(content)), printable(content["about"]))
    Console().print(found, "Show one: profilegym recipes NAME. Run one: profilegym train NAME", highlight=False)


def _method(content: Mapping[str, Any]) -> str:
    method: str = content.get("method", "grpo")
    return f"{method}: {', '.join(content['stages'])}" if "stages" in content else method
