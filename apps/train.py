"""`profilegym train`: a recipe, and how it goes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..envs.visible import visible
from ..training.metrics import read_metrics
from ..training.plan import Plan, plan_of
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
    if dry_run:
        console.print(_plan(recipe, plan_of(recipe)))
        return
    from ..training.conclude import conclude
    from ..training.train import train

    with _Bar(console, recipe, folder) as bar:
        train(recipe, folder, bar.tell)
    conclude(recipe, folder, console.print)
    console.print(f"{folder / 'final'} is a plain transformers model; {folder / 'report.html'} tells what it learned")


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


def _plan(recipe: Recipe, plan: Plan) -> Table:
    found = Table(title=visible(recipe.about), title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("", "each step", f"in all {plan.steps:,} steps"):
        found.add_column(heading, justify="right" if heading else "left")
    rows = (
        ("questions", plan.groups),
        ("episodes", plan.episodes),
        ("turns, at most", plan.turns),
        ("tokens written, at most", plan.tokens),
        ("judge calls", plan.judge_calls),
        ("judge tokens, at most", plan.judge_tokens),
    )
    for name, value in rows:
        found.add_row(name, _number(value), _number(None if value is None else value * plan.steps))
    group = f"{recipe.group.personalised} personalised + {recipe.group.baseline} without the profile"
    found.caption = "\n".join(
        [
            f"group: {group}; advantage {recipe.advantage}, baseline {recipe.train_baseline}",
            f"model: {recipe.model}, {recipe.generation.engine}, {recipe.precision}",
            f"data: {recipe.data.train}" + (f", {plan.questions:,} questions" if plan.questions is not None else ""),
            f"reward: {recipe.reward}",
            *plan.problems,
        ]
    )
    found.caption_justify = "left"
    return found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
