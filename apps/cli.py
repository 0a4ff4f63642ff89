"""The command line. Every command's work is in a module of its own, imported when the command runs."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..envs.errors import OptionError, ProfileGymError
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
judge = typer.Typer(help="Find out what a judge's word is worth.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed and memory beside the peers that are installed.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(check, name="check")
app.add_typer(judge, name="judge")
app.add_typer(bench, name="bench")

DataSpec = Annotated[str, typer.Argument(metavar="SPEC", help="A data set: world:seed=7,users=50/test, jsonl:PATH …")]
RetrieverSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A retriever: bm25, dense, path/to/file.py:factory …")
]
RewardSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A reward: rubric, pr2:rubric, path/to/file.py:factory …")
]
AgentSpec = Annotated[str, typer.Argument(metavar="SPEC", help="An agent: pr2, plan, path/to/file.py:factory …")]
CompareFormat = Literal["terminal", "markdown", "latex"]
ProfileName = Literal["own", "random", "empty"]
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


@check.command("agent")
def check_agent(spec: AgentSpec, as_json: AsJson = False) -> None:
    """Run the conformance kit on an agent; exits with 1 if it breaks its contract.

    Example: profilegym check agent plan
    """
    from .check import check_agent

    raise typer.Exit(check_agent(spec, as_json))


@check.command("determinism")
def check_determinism(
    agent: Annotated[str, typer.Option(help="pr2, none, rag …")] = "pr2",
    model: Annotated[str, typer.Option(help="pilot, hf:PATH_OR_ID, scripted:oracle …")] = "pilot",
    data: Annotated[str, typer.Option(help="A data set.")] = "world:seed=7/test",
    judge: Annotated[str, typer.Option(help="rubric, or an evaluator LLM with a cache.")] = "rubric",
    retriever: Annotated[str, typer.Option(help="bm25, dense, path/to/file.py:factory …")] = "bm25",
    limit: Annotated[int, typer.Option(help="Only the first questions.")] = 32,
    seed: Annotated[int, typer.Option(help="What all that is drawn follows from.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Play a run twice, in processes of their own: the same trajectories but for times, else it exits with 1.

    Example: profilegym check determinism --agent pr2 --model pilot
    """
    from ..evaluation.evaluate import Settings
    from .check import check_determinism

    settings = Settings(agent, model, data, judge, retriever, limit, first_seed=seed)
    raise typer.Exit(check_determinism(settings, as_json))


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A file, or the name of one that comes with the package.")
    ],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE] …", help="Settings to change: optimiser.steps=20")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory; else runs/ and the recipe's name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what it will take.")] = False,
) -> None:
    """Train a policy by a recipe; killed and run again, it goes on from the newest checkpoint.

    Example: profilegym train training/recipes/pr2-world.yaml optimiser.steps=20
    """
    from .train import run_train

    run_train(recipe, changes or [], out, dry_run)


@app.command("eval")
def evaluate(
    out: Annotated[Path, typer.Option(help="The run directory to write, or to go on with.")],
    agent: Annotated[
        str, typer.Option(help="pr2, none, rag, rag-random, recency, plan, rpm, human, scripted:oracle …")
    ] = "pr2",
    model: Annotated[str, typer.Option(help="pilot, hf:PATH_OR_ID, openai:MODEL, scripted:oracle …")] = "pilot",
    data: Annotated[str, typer.Option(help="A data set.")] = "world:seed=7/test",
    judge: Annotated[
        str | None, typer.Option(help="rubric, openai:MODEL …; else what the data set itself is scored by.")
    ] = None,
    retriever: Annotated[str, typer.Option(help="bm25, dense, path/to/file.py:factory …")] = "bm25",
    limit: Annotated[int | None, typer.Option(help="Only the first questions.")] = None,
    seeds: Annotated[int, typer.Option(help="Attempts at each question.")] = 1,
    first_seed: Annotated[int, typer.Option(help="What all that is drawn follows from.")] = 0,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest tokens of this share only.")] = 1.0,
    turn_tokens: Annotated[int, typer.Option(help="What the policy may write in a turn.")] = 256,
    max_tokens: Annotated[int, typer.Option(help="What the policy may write in an episode.")] = 2048,
    top_k: Annotated[int, typer.Option(help="Posts shown after a search.")] = 3,
    max_searches: Annotated[int, typer.Option(help="Searches before the last turn.")] = 4,
    protocol: Annotated[str, typer.Option(help="tags, or tools for chat models that prefer them.")] = "tags",
    in_flight: Annotated[int, typer.Option(help="Episodes played at once.")] = 256,
    deadline: Annotated[float, typer.Option(help="Seconds that an episode may take.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Play an agent's episodes beside the same policy without the profile, and score both.

    Example: profilegym eval --agent pr2 --model pilot --data world:seed=7/test --limit 200 --out runs/pr2-pilot
    """
    from ..evaluation.evaluate import Settings, Speed
    from .eval import run_eval

    settings = Settings(
        agent, model, data, judge, retriever, limit, seeds, first_seed, temperature, top_p, turn_tokens, max_tokens,
        top_k, max_searches, protocol,
    )  # fmt: skip
    raise typer.Exit(run_eval(settings, Speed(in_flight, deadline), out, as_json))


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


@judge.command("audit")
def judge_audit(
    judge: Annotated[str, typer.Option(help="The judge to try: rubric, openai:MODEL,cache=FILE …")],
    data: Annotated[str, typer.Option(help="The questions to make answers from: world:users=20/test …")],
    limit: Annotated[int, typer.Option(min=1, help="How many questions at most, from all over the set.")] = 50,
    out: Annotated[Path | None, typer.Option(help="A folder for audit.html and audit.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Agreement with itself and with the truth, biases, attacks, cost and time, on answers of known worth.

    Example: profilegym judge audit --judge rubric --data world:users=100/test --out audit
    """
    from .judge import run_audit

    raise typer.Exit(run_audit(judge, data, limit, out, as_json))


@app.command("play")
def play(
    data: Annotated[str, typer.Option(help="A data set.")] = "world:seed=7/test",
    question: Annotated[str | None, typer.Option(help="The id of a question; else you pick one.")] = None,
    user: Annotated[str | None, typer.Option(help="Only the questions of this person.")] = None,
    agent: Annotated[
        str | None,
        typer.Option(help="The policy's agent: pr2, rag, scripted:oracle … With --plain it plays by itself."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The policy's model, loaded when it is first asked: pilot, openai:MODEL …")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="rubric, openai:MODEL …; else what the data set itself is scored by.")
    ] = None,
    retriever: Annotated[str, typer.Option(help="bm25, dense, path/to/file.py:factory …")] = "bm25",
    top_k: Annotated[int, typer.Option(help="Posts shown after a search.")] = 3,
    max_searches: Annotated[int, typer.Option(help="Searches before the last turn.")] = 4,
    protocol: Annotated[str, typer.Option(help="tags, or tools: how turns are written down.")] = "tags",
    seed: Annotated[int, typer.Option(help="What all that the policy draws follows from.")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="Line by line, for screen readers, pipes and tests.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for the games that are over.")] = Path("runs/play"),
) -> None:
    """Sit in the policy's chair: search, answer, ask the policy, take back, branch, and see what it was worth.

    Example: profilegym play --data world:seed=7/test --model pilot
    """
    from ..evaluation.evaluate import Settings
    from .play.sitting import Sitting
    from .play.start import own_model, run_lines, run_screen

    settings = Settings(
        agent or "pr2", model or own_model(agent), data, judge, retriever, first_seed=seed,
        top_k=top_k, max_searches=max_searches, protocol=protocol,
    )  # fmt: skip
    sitting = Sitting(settings, out, question_id=question, user=user)
    if plain:
        run_lines(sitting, watched=agent is not None)
    else:
        run_screen(sitting)


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


@app.command("compare")
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR DIR …",
            help="Run directories, the reference first; 'runs/a-*', quoted, for several seeds of one.",
        ),
    ],
    judge: Annotated[
        str | None,
        typer.Option(help="Whose verdicts, where rejudged by it; any: each run's own, though they differ."),
    ] = None,
    form: Annotated[CompareFormat, typer.Option("--format", help="How to print the table.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="A page to write as well, with a plot.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs, or several seeds of each, on the questions that all of them played, with intervals.

    Example: profilegym compare runs/pr2-pilot runs/none-pilot --format latex

    Example: profilegym compare 'runs/a-*' 'runs/b-*'
    """
    from .compare import run_compare

    run_compare(runs, judge, form, out, as_json)


@app.command("explain")
def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of a user.")],
    models: Annotated[Path, typer.Option(help="The folder of users' models, as the agent rpm keeps them.")] = Path(
        "runs/rpm-models"
    ),
    data: Annotated[str | None, typer.Option(help="The data set that has the user's posts.")] = None,
    model: Annotated[
        str | None, typer.Option(help="With --data: who makes what is not there: openai:MODEL, scripted:world …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What RPM knows of one person: factors, how the person responds to them, and how past responses came about.

    Example: profilegym explain world-lamp-3-0-000007 --data world-lamp-3/test --model scripted:world
    """
    from .explain import run_explain

    if model and not data:
        raise OptionError("--model makes a user's model from posts: say where they are, --data DATA")
    run_explain(user, models, data, model, as_json)


@app.command("view")
def view(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN_DIR", help="Run directories, or folders of them; else ./runs."),
    ] = None,
    port: Annotated[int, typer.Option(help="Where to listen on 127.0.0.1; 0 takes any that is free.")] = 0,
    redact: Annotated[bool, typer.Option("--redact", help="Leave the text of profiles out of every export.")] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Look at runs in the browser: follow one that is being written, step through a trajectory, branch, compare, play.

    Example: profilegym view runs/pr2-pilot
    """
    from .view.start import start

    start(runs or [Path("runs")], port, redact, open_browser)


@app.command("replay")
def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    retriever: Annotated[str | None, typer.Option(help="Another retriever: dense, path/to/file.py:factory …")] = None,
    top_k: Annotated[int | None, typer.Option(help="Other than recorded: posts shown after a search.")] = None,
    profile: Annotated[ProfileName | None, typer.Option(help="Whose posts are searched.")] = None,
    from_step: Annotated[
        int | None, typer.Option(help="Keep this many recorded turns of each episode, and play it anew from there.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Who goes on, if not who began.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to go on with, if not that of the run.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory to write, with --from-step.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a run's queries of another retriever without generating anything, or play its episodes anew from a step.

    Example: profilegym replay runs/pr2-pilot --retriever dense
    """
    from .replay import run_replay, run_rerun

    if from_step is None and (agent or model or out):
        raise OptionError("--agent, --model and --out play episodes anew: say from which turn on, --from-step N")
    if from_step is None:
        run_replay(run, retriever, top_k, profile, as_json)
    elif out is None:
        raise OptionError("episodes that are played anew need a run directory of their own: --out DIR")
    else:
        from ..evaluation.rerun import Otherwise

        otherwise = Otherwise(from_step, agent, model, retriever, top_k, profile)
        raise typer.Exit(run_rerun(run, otherwise, out, as_json))


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


@bench.command("rollout")
def bench_rollout(
    parts: Annotated[
        list[str] | None, typer.Argument(help="memory, peers, reading, alone, endpoint; all of them if none is named.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rollouts of the pilot beside TRL's own loop, and of a model behind an endpoint beside bare clients.

    Example: profilegym bench rollout --json
    """
    from ..benchmarks.rollout import main

    main(as_json, parts or ())


@bench.command("train")
def bench_train(as_json: AsJson = False) -> None:
    """A training step beside the bare loop of the same model and tokens, and what of it is not the model.

    Example: profilegym bench train --json
    """
    from ..benchmarks.train import main

    main(as_json)


def main() -> None:
    """Errors that are ours end in one clear line; anything else is a bug and keeps its traceback."""
    # Torch's threads spin for a short while where they wait, then sleep: where something else runs, too, that is 2 to 5
    # times as fast as torch's own habit (docs/experiments.md). Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app(prog_name="profilegym")
    except ProfileGymError as error:
        sys.exit(f"profilegym: {visible(str(error))}")
