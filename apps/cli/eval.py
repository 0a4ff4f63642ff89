"""Options of `profilegym eval`."""

from pathlib import Path
from typing import Annotated

import typer

from ..options import read_options
from .shared import (
    SAMPLING,
    SPEED,
    Agent,
    AsJson,
    Cites,
    Costs,
    Data,
    DefaultModel,
    HitChars,
    Judge,
    MaxSearches,
    MaxShown,
    Metric,
    On,
    Protocol,
    Retriever,
    Tools,
    TopK,
    model_or_default,
)


def _read_settings(context: typer.Context, path: Path | None) -> Path | None:
    """Options from the file become the defaults of the command line."""
    if path is not None:
        context.default_map = read_options(path, [str(option.name) for option in context.command.params])
    return path


def evaluate(
    out: Annotated[Path, typer.Option(help="Run directory to write or to resume.")],
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            callback=_read_settings,
            is_eager=True,
            help="YAML file with these options, or a run's recipe.yaml. The command line overrides it.",
        ),
    ] = None,
    agent: Agent = "pr2",
    model: DefaultModel = None,
    data: Data = "world:seed=7/test",
    judge: Judge = None,
    metric: Metric = None,
    retriever: Retriever = "bm25",
    limit: Annotated[int | None, typer.Option(help="Number of questions, from the first.")] = None,
    seeds: Annotated[int, typer.Option(help="Attempts per question.", rich_help_panel=SAMPLING)] = 1,
    first_seed: Annotated[int, typer.Option(help="Random seed of the first attempt.", rich_help_panel=SAMPLING)] = 0,
    temperature: Annotated[
        float, typer.Option(help="Sampling temperature; 0 is greedy.", rich_help_panel=SAMPLING)
    ] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling threshold (top-p).", rich_help_panel=SAMPLING)] = 1.0,
    turn_tokens: Annotated[int, typer.Option(help="Maximum new tokens per turn.", rich_help_panel=SAMPLING)] = 256,
    max_tokens: Annotated[int, typer.Option(help="Maximum new tokens per episode.", rich_help_panel=SAMPLING)] = 2048,
    top_k: TopK = 3,
    max_searches: MaxSearches = 4,
    protocol: Protocol = "tags",
    tools: Tools = None,
    max_shown: MaxShown = None,
    cites: Cites = False,
    costs: Costs = None,
    hit_chars: HitChars = None,
    in_flight: Annotated[
        int, typer.Option(help="Maximum concurrent episodes, for each worker.", rich_help_panel=SPEED)
    ] = 256,
    deadline: Annotated[float, typer.Option(help="Time-out per episode, in seconds.", rich_help_panel=SPEED)] = 600.0,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate an agent and its baseline without the profile, and score both. Run again, it resumes.

    Example: profilegym eval --agent pr2 --model pilot --data world:seed=7/test --limit 200 --out runs/pr2-pilot
    """
    from ...evaluation.evaluate import Settings, Speed
    from ..eval import run_eval

    settings = Settings(
        agent, model_or_default(model, agent), data, judge, retriever, limit, seeds, first_seed, temperature, top_p,
        turn_tokens, max_tokens, top_k, max_searches, protocol, tools, max_shown, cites, costs, hit_chars, metric,
    )  # fmt: skip
    raise typer.Exit(run_eval(settings, Speed(in_flight, deadline), out, as_json, on))
