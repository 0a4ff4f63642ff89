"""`profilegym train`: a recipe, and how it goes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..envs.errors import OptionError
from ..envs.visible import visible
from ..training.metrics import read_metrics
from ..training.plan import Plan, Work, plan_of
from ..training.recipe import Recipe, load_recipe

SHOWN = (  # in the bar: metric, how it is called, digits
    ("score", "score", 2),
    ("gain", "gain", 2),
    ("searches", "searches", 1),
    ("structure", "structure", 2),
    ("zero_variance", "flat", 2),
    ("unscored", "unscored", 2),
)


def run_train(path: str, changes: Sequence[str], out: Path | None, dry_run: bool) -> None:
    recipe = load_recipe(path, changes)
    folder = out or Path("runs") / Path(path).name.removesuffix(".yaml")
    console = Console()
    plan = plan_of(recipe)
    if dry_run:
        _tell_plan(console, recipe, plan)
    problems = plan.wrong if dry_run else (*plan.wrong, *plan.missing)  # another machine may have what is missing
    if problems:
        raise OptionError("\n  ".join(["this run cannot work:", *problems]))
    if not dry_run:
        _train(recipe, folder, console)


def _train(recipe: Recipe, folder: Path, console: Console) -> None:
    """Of several processes the first one tells how it goes, and plays the test sets."""
    from ..training.conclude import conclude
    from ..training.train import train

    if os.environ.get("RANK", "0") != "0":
        train(recipe, folder, lambda step, metrics: None)
        return
    with _Bar(console, recipe, folder) as bar:
        train(recipe, folder, bar.tell)
    conclude(recipe, folder, console.print)
    ended = f"{folder / 'final'} is a plain transformers model; {folder / 'report.html'} tells what it learned"
    console.print(ended, markup=False, soft_wrap=True)


class _Bar(Progress):
    """How far the run is, and the figures that matter of its newest step."""

    def __init__(self, console: Console, recipe: Recipe, folder: Path) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, TextColumn("{task.fields[told]}"), console=console)
        self._known: set[str] = set()
        steps = read_metrics(folder / "metrics.jsonl")
        done = steps[-1]["step"] if steps else 0
        self.add_task(visible(recipe.advantage), total=recipe.optimiser.steps, completed=done, told="")

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


def _tell_plan(console: Console, recipe: Recipe, plan: Plan) -> None:
    console.print(_table(recipe, plan))
    for line in _settings(recipe, plan):
        console.print(visible(line), highlight=False, markup=False, soft_wrap=True)


def _table(recipe: Recipe, plan: Plan) -> Table:
    found = Table(title=visible(recipe.about), title_justify="left", box=box.SIMPLE_HEAD)
    columns = (plan.step, plan.training, plan.evaluations, plan.everything)
    for heading in ("at most", "each step", f"{recipe.optimiser.steps:,} steps", "evaluations", "in all"):
        found.add_column(heading, justify="left" if heading == "at most" else "right")
    judged, cost = plan.everything.judgements != 0, plan.everything.cost
    for name, of in (_ROWS | (_JUDGE_ROWS if judged else {}) | (_COST_ROW if cost else {})).items():
        found.add_row(name, *(_number(of(work)) for work in columns))
    return found


_ROWS: dict[str, Callable[[Work], float | None]] = {
    "episodes": lambda work: work.episodes,
    "generations": lambda work: work.turns,
    "tokens written": lambda work: work.tokens,
}
_JUDGE_ROWS: dict[str, Callable[[Work], float | None]] = {
    "judge calls": lambda work: work.judgements,
    "judge tokens read": lambda work: work.judge_read,
    "judge tokens written": lambda work: work.judge_written,
}
_COST_ROW: dict[str, Callable[[Work], float | None]] = {"judge cost": lambda work: work.cost}


def _settings(recipe: Recipe, plan: Plan) -> Iterator[str]:
    group, known = recipe.group, plan.questions
    of = f" of {known:,}, {recipe.optimiser.steps * recipe.optimiser.questions / known:.2g} epochs" if known else ""
    yield f"groups: {recipe.optimiser.questions} questions a step{of}"
    yield f"each: {group.personalised} with the profile, {group.baseline} without; advantage {recipe.advantage}"
    yield f"model: {recipe.model}, {recipe.generation.engine}, {recipe.precision}{', LoRA' if recipe.lora else ''}"
    yield f"data: {recipe.data.train}"
    yield f"reward: {recipe.reward}"
    if plan.everything.judgements and plan.everything.cost is None:
        yield "cost: not known; name price_in and price_out, of a million tokens, in reward and judge"
    untold = (*plan.missing, *plan.unknown)
    yield "not checked here:" if untold else "everything was checked"
    yield from (f"  - {told}" for told in untold)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"
