"""`profilegym train`: trains from a recipe, with a progress bar, and prints the plan of a dry run."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .._util.terminal import printable
from ..errors import OptionError
from ..evaluation.intervals import BRACKETS, Interval, spread
from ..evaluation.run import RunDirectory
from ..training.lessons import SFTRecipe, train_sft
from ..training.metrics import METRICS, read_metrics
from ..training.plan import Plan, Workload, plan_of
from ..training.policy import FINAL, trained_spec
from ..training.readiness import Readiness, readiness_of
from ..training.recipe import PolicyRecipe, Recipe
from ..training.reward_models.train import RewardModelRecipe, train_reward_model
from ..training.stages import Single, Stage, StagedRecipe, load_any, stages_of
from .options import is_quiet

SHOWN = (  # in the progress bar: metric, label, digits
    ("score", "score", 2),
    ("gain", "gain", 2),
    ("searches", "searches", 1),
    ("structure", "structure", 2),
    ("zero_variance", "flat", 2),
    ("unscored", "unscored", 2),
    ("lesson_loss", "loss", 3),
)


def run_train(path: str, changes: Sequence[str], out: Path | None, dry_run: bool) -> None:
    recipe = load_any(path, changes)
    folder = out or Path("runs") / Path(path).name.removesuffix(".yaml")
    console = Console()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not isinstance(recipe, Recipe):
        raise OptionError(f"method={recipe.method} runs in one process; only grpo can have several")
    stages = stages_of(recipe, folder) if isinstance(recipe, StagedRecipe) else [Stage("", recipe, folder)]
    variables = recipe.variables if isinstance(recipe, StagedRecipe) else {}
    _check(stages, variables, console, dry_run)
    if dry_run:
        return
    if isinstance(recipe, StagedRecipe):
        _train_in_stages(recipe, stages, folder, console)
    else:
        _train(recipe, folder, console)


def _check(stages: Sequence[Stage], variables: dict[str, str], console: Console, dry_run: bool) -> None:
    """Check all stages before the first begins."""
    problems: list[str] = []
    for place, stage in enumerate(stages):
        plan = plan_of(stage.recipe, [str(other.folder) for other in stages[:place] if not other.done])
        problems += plan.wrong
        if not dry_run:
            problems += plan.missing
            continue
        asked = [] if plan.wrong else list(readiness_of(stage.recipe))
        _tell_plan(console, stage.recipe, plan, asked)
        problems += [f"{one.what}: {one.found}" for one in asked if one.state == "unfit"]
    if problems:
        if any(text in problem for text in variables.values() for problem in problems):
            problems.append(f"the recipe's variables can be changed: {_given(variables)}")
        raise OptionError("\n  ".join(["this run cannot work:", *dict.fromkeys(problems)]))


def _given(variables: dict[str, str]) -> str:
    return " ".join(f"variables.{name}={text}" for name, text in variables.items())


def _train_in_stages(staged: StagedRecipe, stages: Sequence[Stage], folder: Path, console: Console) -> None:
    from ..training.report.stage_report import write_stage_report

    with RunDirectory(folder).writing(staged.model_dump()):
        for stage in stages:
            console.print(f"{stage.name}: {'done before' if stage.done else stage.folder}", markup=False)
            if not stage.done:
                _train(stage.recipe, stage.folder, console)
        write_stage_report(staged, stages, folder)
    console.print(f"{folder / 'report.html'} has the result of each stage", markup=False, soft_wrap=True)


def _train(recipe: Single, folder: Path, console: Console) -> None:
    """Of several processes, only the first one prints."""
    from ..training.processes import end_processes
    from ..training.report.conclude import conclude
    from ..training.train import train

    if isinstance(recipe, RewardModelRecipe):
        _model_reward(recipe, folder, console)
        return
    learn = partial(train, recipe) if isinstance(recipe, Recipe) else partial(train_sft, recipe)
    if os.environ.get("RANK", "0") != "0":
        learn(folder, lambda step, metrics: None)
        conclude(recipe, folder, lambda told: None)
        end_processes()
        return
    with _Bar(console, recipe, folder) as bar:
        learn(folder, bar.tell)
    conclude(recipe, folder, console.print)
    end_processes()
    console.print(*_next_steps(recipe, folder), sep="\n", markup=False, highlight=False, soft_wrap=True)


def _next_steps(recipe: PolicyRecipe, folder: Path) -> Iterator[str]:
    """What to do with a trained policy."""
    model = shlex.quote(trained_spec(recipe.model, folder))
    test = next(iter(recipe.data.test.values()), recipe.data.train)
    yield f"The report: {folder / 'report.html'}. The policy, a plain transformers model: {folder / FINAL}"
    yield "What to do next:"
    yield f"  profilegym view {folder}"
    yield f"  profilegym play --model {model} --data {test}"
    yield f"  profilegym eval --agent {recipe.agent} --model {model} --data {test} --out {folder}-eval"


def _model_reward(recipe: RewardModelRecipe, folder: Path, console: Console) -> None:
    report = train_reward_model(recipe, folder)
    told = spread(Interval(**report["accuracy"]["all"]))
    console.print(f"accuracy on {report['held_out_pairs']} pairs of held-out people: {told}. {BRACKETS}", markup=False)


class _Bar(Progress):
    """Progress of training, with the main metrics of the newest step."""

    def __init__(self, console: Console, recipe: PolicyRecipe, folder: Path) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, TextColumn("{task.fields[told]}"), console=console, disable=is_quiet())
        self._known: set[str] = set()
        steps = read_metrics(folder / METRICS)
        done = steps[-1]["step"] if steps else 0
        learning = recipe.advantage if isinstance(recipe, Recipe) else "lessons"
        self.add_task(printable(learning), total=recipe.optimiser.steps, completed=done, told="")

    def tell(self, step: int, metrics: Mapping[str, Any]) -> None:
        if "validation_score" in metrics:
            self.console.print(f"step {step}: " + _listed(metrics, "validation_", " on validation"))
        for sign in metrics.get("alarms", ()):
            if sign not in self._known:
                self._known.add(sign)
                self.console.print(f"step {step}: ! {sign}")
        told = [f"{name} {metrics[metric]:.{digits}f}" for metric, name, digits in SHOWN if metric in metrics]
        if told:
            self.update(self.task_ids[0], completed=step, told=" ".join(told))


def _listed(metrics: Mapping[str, Any], prefix: str, where: str) -> str:
    found = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    return ", ".join(f"{name} {value:.3f}" for name, value in found.items()) + where


def _tell_plan(console: Console, recipe: Single, plan: Plan, asked: Sequence[Readiness]) -> None:
    console.print(_table(recipe, plan))
    for line in (*_settings(recipe, plan), *_ready(asked), *_unchecked(plan)):
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _table(recipe: Single, plan: Plan) -> Table:
    found = Table(title=Text(printable(recipe.about)), title_justify="left", box=box.SIMPLE_HEAD)
    columns = _columns(recipe, plan)
    for heading in ("at most", *columns):
        found.add_column(heading, justify="left" if heading == "at most" else "right")
    judged, cost = plan.everything.judgements != 0, plan.everything.cost
    for name, of in (_ROWS | (_JUDGE_ROWS if judged else {}) | (_COST_ROW if cost else {})).items():
        found.add_row(name, *(_number(of(work)) for work in columns.values()))
    return found


def _columns(recipe: Single, plan: Plan) -> dict[str, Workload]:
    match recipe:
        case Recipe():
            learning = {"each step": plan.step, f"{recipe.optimiser.steps:,} steps": plan.training}
        case SFTRecipe():
            learning = {"lessons": plan.training}
        case _:
            return {"to compare": plan.training}
    return learning | {"evaluations": plan.evaluations, "in all": plan.everything}


_ROWS: dict[str, Callable[[Workload], float | None]] = {
    "episodes": lambda work: work.episodes,
    "generations": lambda work: work.turns,
    "tokens written": lambda work: work.tokens,
}
_JUDGE_ROWS: dict[str, Callable[[Workload], float | None]] = {
    "judge calls": lambda work: work.judgements,
    "judge tokens read": lambda work: work.judge_read,
    "judge tokens written": lambda work: work.judge_written,
}
_COST_ROW: dict[str, Callable[[Workload], float | None]] = {"judge cost": lambda work: work.cost}


def _settings(recipe: Single, plan: Plan) -> Iterator[str]:
    match recipe:
        case Recipe():
            yield from _groups(recipe, plan)
            yield f"reward: {recipe.reward}"
        case SFTRecipe(lessons=lessons, optimiser=fitting):
            yield f"lessons: {lessons.run or f'{lessons.player} as {lessons.agent or recipe.agent}'}"
            yield f"{fitting.steps:,} steps of {fitting.batch} lessons"
        case RewardModelRecipe():
            played = ", ".join(recipe.runs or recipe.agents.values())
            yield f"{recipe.kind}: {played}, and without the profile; {recipe.encoder}"
    yield f"model: {recipe.model}, {recipe.generation.engine}"
    yield f"data: {recipe.data.train}"
    if plan.everything.judgements and plan.everything.cost is None:
        yield "cost: not known; name price_in and price_out, of a million tokens, in reward and judge"


def _groups(recipe: Recipe, plan: Plan) -> Iterator[str]:
    group, known = recipe.group, plan.questions
    of = f" of {known:,}, {recipe.optimiser.steps * recipe.optimiser.questions / known:.2g} epochs" if known else ""
    yield f"groups: {recipe.optimiser.questions} questions a step{of}"
    yield f"each: {group.personalised} with the profile, {group.baseline} without; advantage {recipe.advantage}"
    yield f"weights: {_weights(recipe)}"


def _weights(recipe: Recipe) -> str:
    """What learns is float32, whatever the precision of the arithmetic."""
    if recipe.lora is None:
        return "float32" if recipe.precision == "float32" else f"float32, computed in {recipe.precision}"
    kept = recipe.precision if recipe.lora.bits == 16 else f"{recipe.lora.bits} bits"
    return f"{kept}, with adapters of rank {recipe.lora.rank} in float32"


def _ready(asked: Sequence[Readiness]) -> Iterator[str]:
    yield from (f"{one.state + ':':<8} {one.what}: {one.found}" for one in asked)


def _unchecked(plan: Plan) -> Iterator[str]:
    untold = (*plan.missing, *plan.unknown)
    yield "not checked here:" if untold else "everything was checked"
    yield from (f"  - {told}" for told in untold)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"
