"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

SAMPLING, EPISODE, SPEED = "Sampling", "Episode", "Speed"  # groups of options in the help

RunDirectory = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Run directory.")]
DataSpec = Annotated[str, typer.Argument(metavar="SPEC", help="Data set: world:seed=7,users=50/test, jsonl:PATH …")]
Changes = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE] …", help="Settings to change: optimiser.steps=20")
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a report.")]
Data = Annotated[str, typer.Option(help="Data set: world:seed=7/test, lamp-qa:PATH, jsonl:PATH …")]
Agent = Annotated[str, typer.Option(help="Agent: pr2, none, rag, plan, rpm, scripted:oracle …")]
Model = Annotated[str, typer.Option(help="Model: pilot, hf:PATH_OR_ID, openai:MODEL, scripted:oracle …")]
DefaultModel = Annotated[
    str | None,
    typer.Option(help="Model: pilot, hf:PATH_OR_ID, openai:MODEL … Default: pilot, or the script of a scripted agent."),
]
Judge = Annotated[str | None, typer.Option(help="Judge: rubric, openai:MODEL … Default: the data set's metric.")]
Metric = Annotated[
    str | None, typer.Option(help="Metric in the place of a judge: f1, exact, rouge, none, path/to/file.py:factory …")
]
Retriever = Annotated[str, typer.Option(help="Retriever: bm25, dense, path/to/file.py:factory …")]
TopK = Annotated[int, typer.Option(help="Documents shown per search.", rich_help_panel=EPISODE)]
MaxSearches = Annotated[
    int, typer.Option(help="Maximum searches, or calls of any tool, per episode.", rich_help_panel=EPISODE)
]
Tools = Annotated[
    str | None,
    typer.Option(
        help="Tools, joined by +: search_profile, read_around, latest, path/to/file.py:function. "
        "Default: search_profile, with its query only.",
        rich_help_panel=EPISODE,
    ),
]
MaxShown = Annotated[
    int | None, typer.Option(help="Maximum documents shown per episode. Default: no maximum.", rich_help_panel=EPISODE)
]
HitChars = Annotated[
    int | None, typer.Option(help="Characters at which a document is cut. Default: 2000.", rich_help_panel=EPISODE)
]
Cites = Annotated[
    bool, typer.Option("--cites", help="Ask for the documents that an answer rests on.", rich_help_panel=EPISODE)
]
Costs = Annotated[
    str | None,
    typer.Option(
        help="Cost of a call by tool, told to the policy: search_profile=0.01,latest=0.02.", rich_help_panel=EPISODE
    ),
]
Protocol = Annotated[str, typer.Option(help="tags, or tools for native tool calls.", rich_help_panel=EPISODE)]
On = Annotated[
    str | None,
    typer.Option(
        help="Workers: local:N for processes, ray or ray:ADDRESS,workers=N,gpus=1 for actors. Default: this process.",
    ),
]


def model_or_default(model: str | None, agent: str | None) -> str:
    """A scripted agent is its own model, so that its script plays its baseline too."""
    return model or (agent if agent and agent.startswith("scripted:") else "pilot")
