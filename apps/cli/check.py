"""Options of `profilegym check`."""

from typing import Annotated

import typer

from .shared import Agent, AsJson, Data, Model, Retriever

app = typer.Typer(name="check", help="Test a plug-in against its contract.", no_args_is_help=True)

RetrieverSpec = Annotated[str, typer.Argument(metavar="SPEC", help="Retriever: bm25, dense, path/to/file.py:factory …")]
ToolSpec = Annotated[str, typer.Argument(metavar="SPEC", help="Tool: read_around, path/to/file.py:function, mcp:URL …")]
RewardSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="Reward: rubric, pr2:rubric, path/to/file.py:factory …")
]
AgentSpec = Annotated[str, typer.Argument(metavar="SPEC", help="Agent: pr2, plan, path/to/file.py:factory …")]
JudgeSpec = Annotated[str, typer.Argument(metavar="SPEC", help="Judge: rubric, openai:MODEL,cache=FILE …")]
ModelSpec = Annotated[str, typer.Argument(metavar="SPEC", help="Model: pilot, hf:PATH_OR_ID, openai:MODEL …")]


@app.command()
def retriever(spec: RetrieverSpec, as_json: AsJson = False) -> None:
    """Test a retriever against its contract. Exit code 1 if it breaks it.

    Example: profilegym check retriever examples/my_retriever.py:make
    """
    from ..check import check_retriever

    raise typer.Exit(check_retriever(spec, as_json))


@app.command()
def tool(
    spec: ToolSpec,
    data: Annotated[
        str | None, typer.Option(help="Data set whose first two users a server knows. Default: made-up users.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test a tool, or each tool of a server, against its contract. Exit code 1 if it breaks it.

    Example: profilegym check tool examples/my_tool.py:by_month
    """
    from ..check import check_tool

    raise typer.Exit(check_tool(spec, as_json, data))


@app.command()
def reward(spec: RewardSpec, as_json: AsJson = False) -> None:
    """Test a reward against its contract. Exit code 1 if it breaks it.

    Example: profilegym check reward compose:1*score:rubric+0.1*structure
    """
    from ..check import check_reward

    raise typer.Exit(check_reward(spec, as_json))


@app.command()
def agent(spec: AgentSpec, as_json: AsJson = False) -> None:
    """Test an agent against its contract. Exit code 1 if it breaks it.

    Example: profilegym check agent plan
    """
    from ..check import check_agent

    raise typer.Exit(check_agent(spec, as_json))


@app.command()
def judge(spec: JudgeSpec, as_json: AsJson = False) -> None:
    """Test a judge against its contract. Exit code 1 if it breaks it. Sends some forty short answers to an endpoint.

    Example: profilegym check judge openai:MODEL,cache=judge.sqlite
    """
    from ..check import check_judge

    raise typer.Exit(check_judge(spec, as_json))


@app.command()
def model(spec: ModelSpec, as_json: AsJson = False) -> None:
    """Test a model against its contract. Exit code 1 if it breaks it.

    Example: profilegym check model pilot
    """
    from ..check import check_model

    raise typer.Exit(check_model(spec, as_json))


@app.command()
def determinism(
    agent: Agent = "pr2",
    model: Model = "pilot",
    data: Data = "world:seed=7/test",
    judge: Annotated[str, typer.Option(help="Judge: rubric, or an LLM judge with a cache.")] = "rubric",
    retriever: Retriever = "bm25",
    limit: Annotated[int, typer.Option(help="Number of questions, from the first.")] = 32,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run twice, each time in a new process. Exit code 1 unless the trajectories match, timings aside.

    Example: profilegym check determinism --agent pr2 --model pilot
    """
    from ...evaluation.evaluate import Settings
    from ..check import check_determinism

    settings = Settings(agent, model, data, judge, retriever, limit, first_seed=seed)
    raise typer.Exit(check_determinism(settings, as_json))
