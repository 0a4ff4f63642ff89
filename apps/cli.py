"""The command line. Every command's work is in a module of its own, imported when the command runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..envs.errors import ProfileGymError
from ..envs.visible import visible

app = typer.Typer(
    name="profilegym",
    help="A text environment in which a language model answers a person's question by searching that person's history.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Look at a data set, or check one.", no_args_is_help=True)
check = typer.Typer(help="Check a plug-in against its contract.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed and memory beside the peers that are installed.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(check, name="check")
app.add_typer(bench, name="bench")

DataSpec = Annotated[str, typer.Argument(metavar="SPEC", help="A data set: world:seed=7,users=50/test, jsonl:PATH …")]
RetrieverSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A retriever: bm25, dense, path/to/file.py:factory …")
]
RewardSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A reward: rubric, pr2:rubric, path/to/file.py:factory …")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a report.")]


@data.command("show")
def data_show(spec: DataSpec, as_json: AsJson = False) -> None:
    """Sizes, distributions, an example and the leaks left out.

    Example: profilegym data show world:seed=7,users=50
    """
    from .data import show

    show(spec, as_json)


@data.command("validate")
def data_validate(spec: DataSpec, as_json: AsJson = False) -> None:
    """Read every record and name what is wrong; exits with 1 if anything is.

    Example: profilegym data validate lamp-qa:Art_and_Entertainment_test.json
    """
    from .data import validate

    raise typer.Exit(validate(spec, as_json))


@check.command("retriever")
def check_retriever(spec: RetrieverSpec, as_json: AsJson = False) -> None:
    """Run the conformance kit on a retriever; exits with 1 if it breaks its contract.

    Example: profilegym check retriever examples/my_retriever.py:make
    """
    from .check import check_retriever

    raise typer.Exit(check_retriever(spec, as_json))


@check.command("reward")
def check_reward(spec: RewardSpec, as_json: AsJson = False) -> None:
    """Run the conformance kit on a reward; exits with 1 if it breaks its contract.

    Example: profilegym check reward compose:1*score:rubric+0.1*structure
    """
    from .check import check_reward

    raise typer.Exit(check_reward(spec, as_json))


@app.command()
def index(
    spec: DataSpec,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("profiles.bm25"),
) -> None:
    """Compile a data set's profiles into one memory-mapped BM25 index that many processes share.

    Example: profilegym index world:users=1000 --out world.bm25; then name the retriever bm25:store=world.bm25
    """
    from .index import index

    index(spec, out)


@app.command("rejudge")
def rejudge(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    judge: Annotated[str | None, typer.Option(help="Another judge than the run's own: rubric, openai:MODEL …")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Ask anew about every answer, scored or not.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score what a run could not, or all of it by another judge beside the old verdicts; exits with 1 if any stays so.

    Example: profilegym rejudge runs/pr2 --judge openai:MODEL,cache=judge.sqlite
    """
    from .rejudge import run_rejudge

    raise typer.Exit(run_rejudge(run, judge, everything, as_json))


@bench.command("retrieval")
def bench_retrieval(as_json: AsJson = False) -> None:
    """BM25 beside plain numpy, bm25s, rank-bm25 and pyserini.

    Example: profilegym bench retrieval --json
    """
    from ..benchmarks.retrieval import main

    main(as_json)


@bench.command("env")
def bench_env(as_json: AsJson = False) -> None:
    """Episodes and environments beside Gymnasium's bare loop, gem, skyrl-gym and verifiers.

    Example: profilegym bench env --json
    """
    from ..benchmarks.env import main

    main(as_json)


@bench.command("judge")
def bench_judge(as_json: AsJson = False) -> None:
    """Judgements a second beside the openai client alone, with tenacity, and verifiers; and among faults.

    Example: profilegym bench judge --json
    """
    from ..benchmarks.endpoint import main

    main(as_json)


def main() -> None:
    """Errors that are ours end in one clear line; anything else is a bug and keeps its traceback."""
    try:
        app(prog_name="profilegym")
    except ProfileGymError as error:
        sys.exit(f"profilegym: {visible(str(error))}")
