"""Options of `profilegym bench`."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import OptionError
from .shared import AsJson, On

app = typer.Typer(
    name="bench", help="Measure retrieval, speed and memory beside other libraries.", no_args_is_help=True
)


@app.command()
def retrieval(as_json: AsJson = False) -> None:
    """Compare BM25 with plain numpy, bm25s, rank-bm25 and pyserini.

    Example: profilegym bench retrieval --json
    """
    from ...benchmarks.retrieval import main

    main(as_json)


@app.command()
def retriever(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC", help="Retrievers: bm25, hybrid, bm25:context=2 …")],
    data: Annotated[str, typer.Option(help="Data set whose questions name their evidence documents.")],
    limit: Annotated[int | None, typer.Option(help="Number of questions, from the first.", min=1)] = None,
    tools: Annotated[
        str | None, typer.Option(help="Tools to measure each retriever with, too: search_profile+read_around …")
    ] = None,
    on: On = None,
    as_json: AsJson = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables.")] = False,
    html: Annotated[Path | None, typer.Option(help="HTML page to write.")] = None,
) -> None:
    """Compare retrievers with bm25 on a data set's evidence: recall, nDCG, MRR, times and index sizes.

    Example: profilegym bench retriever hybrid bm25:context=2 --data locomo:locomo10.json
    """
    from ..bench_retriever import run

    if as_json and as_latex:
        raise OptionError("--json and --latex exclude each other")
    run(specs, data, limit, "json" if as_json else "latex" if as_latex else "terminal", html, tools, on)


@app.command()
def env(as_json: AsJson = False) -> None:
    """Compare environment steps with Gymnasium's bare loop, gem, skyrl-gym and verifiers.

    Example: profilegym bench env --json
    """
    from ...benchmarks.env import main

    main(as_json)


@app.command()
def judge(as_json: AsJson = False) -> None:
    """Compare judgements per second with the bare openai client, tenacity and verifiers, also under faults.

    Example: profilegym bench judge --json
    """
    from ...benchmarks.judge import main

    main(as_json)


@app.command()
def rollout(
    parts: Annotated[
        list[str] | None, typer.Argument(help="memory, peers, reading, alone, endpoint. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare rollouts with TRL's own loop, and rollouts over an endpoint with bare clients.

    Example: profilegym bench rollout --json
    """
    from ...benchmarks.rollout import main

    main(as_json, parts or ())


@app.command()
def train(as_json: AsJson = False) -> None:
    """Compare a training step with the bare loop of the same model and tokens.

    Example: profilegym bench train --json
    """
    from ...benchmarks.train import main

    main(as_json)


@app.command()
def gpu(
    toy: Annotated[
        bool | None, typer.Option("--toy/--full", help="Size of the models. Default: full with a GPU, toy without.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure rollouts and GRPO steps on one GPU: speed, memory, and whether the weights move.

    Example: profilegym bench gpu --out gpu.json
    """
    from ...benchmarks.gpu import main

    main(as_json, toy, out)


@app.command()
def fleet(
    on: Annotated[str | None, typer.Option(help="local or ray. Default: ray if it is installed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare workers with the plain engine, one with two over an endpoint, and 64 simulated ones.

    Example: profilegym bench fleet --json
    """
    from ...benchmarks.fleet import main

    main(as_json, on)
