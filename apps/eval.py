"""`profilegym eval`: plays and scores questions, and prints a summary."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .._util.counted import counted
from .._util.keys import hidden
from .._util.terminal import printable
from ..envs.trajectory import Trajectory
from ..evaluation.evaluate import Settings, Speed, evaluate
from ..evaluation.intervals import LEAST, Interval, half
from ..evaluation.report import scored_by, write_report
from ..evaluation.run import RunDirectory
from ..evaluation.summary import FEW_CATEGORIES, FIGURES, score_of
from .options import is_quiet

if TYPE_CHECKING:
    from ..fleet.worker import Played


def run_eval(settings: Settings, speed: Speed, out: Path, as_json: bool = False, on: str | None = None) -> int:
    """Returns 1 if nothing could be scored, or if episodes failed, else 0.

    `on`: the place of the workers; by default, this process.
    """
    console, run = Console(stderr=as_json), RunDirectory(out)
    if on is not None:
        return tell(run, _on_workers(on, settings, speed, run, console), as_json)
    with Bar(console, settings) as bar:
        summary = asyncio.run(evaluate(settings, run, speed, bar.tell))
    return tell(run, summary, as_json)


def _on_workers(on: str, settings: Settings, speed: Speed, run: RunDirectory, console: Console) -> dict[str, Any]:
    from ..fleet.driver import evaluate_on

    with Bar(console, settings) as bar:
        return evaluate_on(on, settings, run, speed, bar.count)


def tell(run: RunDirectory, summary: Mapping[str, Any], as_json: bool) -> int:
    """Write the report and print the summary."""
    write_report(run)
    if as_json:
        Console().print_json(data=summary, ensure_ascii=False)
    else:
        shown = [table(summary), *notes(summary), f"{run.path / 'report.html'}"]
        Console().print(*shown, sep="\n", highlight=False, markup=False)
    failed = any(summary.get(key, {"failed": 0})["failed"] for key in ("unscored", "baseline_unscored"))
    wanted = "score" in summary or summary["settings"].get("metric") == "none"
    return 0 if wanted and not failed else 1


def table(summary: Mapping[str, Any]) -> Table:
    """Figures over all questions, and by hops if the data has them, else by category if there are few."""
    asked = summary["settings"]
    title = f"{asked['agent']} with {asked['model']} on {asked['data']}, {asked['retriever']}"
    found = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD, caption_justify="left")
    found.caption = (
        f"mean ± half the width of its 95 % interval, or the end of it (≥, ≤); no interval below {LEAST} people; "
        "a number in brackets: the people of this figure, if fewer"
    )
    found.add_column("", no_wrap=True)
    parts = {
        f"all {summary['episodes']:,}": summary,
        **_parts(summary),
    }
    people = {name: _people(part) for name, part in parts.items()}
    for name, count in people.items():
        head = name if count is None else f"{name}\n{counted(count, 'person', 'people')}"
        found.add_column(head, justify="right", overflow="fold")
    for metric, called, digits in FIGURES:
        if metric in summary:
            called = f"score, {scored_by(summary)}" if metric == "score" else called
            found.add_row(
                printable(called), *(_cell(part.get(metric), digits, people[name]) for name, part in parts.items())
            )
    return found


def _parts(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if summary["by_hops"]:
        return {counted(int(count), "hop"): part for count, part in summary["by_hops"].items()}
    categories = summary["by_category"]
    if not 1 < len(categories) <= FEW_CATEGORIES:
        return {}
    macro = {"macro": summary["macro"]} if summary["macro"] else {}
    return {printable(category): part for category, part in categories.items()} | macro


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Users, endings, cost, unscored episodes, flags and alarms."""
    told = [f"{counted(summary['users'], 'user')}; ended: {_counts(summary['ended'])}"]
    if cost := _cost(summary):
        told.append(f"cost: {cost:.4g}")
    for key, what in (("unscored", "episode"), ("baseline_unscored", "baseline")):
        missing = summary.get(key, {"n": 0})
        if missing["n"]:
            unscored = counted(missing["n"], what)
            told.append(f"{unscored} unscored and in no mean; {_advice(missing['n'], missing['failed'])}")
            told += [f"  {count} × {printable(reason)}" for reason, count in missing["reasons"].items()]
    if summary["flags"]:
        told.append(f"flags: {_counts(summary['flags'])}")
    return told + [_told(alarm) for alarm in summary["alarms"] if alarm["raised"]]


def _cost(summary: Mapping[str, Any]) -> float | None:
    """Of all episodes, the baselines among them; None where it is unknown of one."""
    of, of_baselines = summary["sums"]["cost"], summary.get("baseline_sums", {"cost": 0.0})["cost"]
    return None if of is None or of_baselines is None else of + of_baselines


def _advice(unscored: int, failed: int) -> str:
    """What scores them: those that failed have no answer yet."""
    if not failed:
        return "score them with: profilegym rejudge"
    again = "the same command plays them again"
    return again if failed == unscored else f"{failed} failed: {again}; score the others with: profilegym rejudge"


class Bar(Progress):
    """Progress of a run, with its mean score so far."""

    def __init__(self, console: Console, settings: Settings) -> None:
        name = TextColumn("{task.description}", markup=False)
        columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, TextColumn("{task.fields[told]}"), console=console, disable=is_quiet())
        self._name = hidden(f"{settings.agent} {settings.model}")
        self._scores = {"personalised": _Mean(), "baseline": _Mean()}
        self._speed = _Speed()

    def tell(self, done: int, count: int, trajectory: Trajectory | None) -> None:
        kind, score = (trajectory.kind, score_of(trajectory)) if trajectory else (None, None)
        self._note(done, count, kind, score)

    def count(self, done: int, count: int, played: "Played | None") -> None:
        """The same for an episode of a fleet, with episodes and tokens per second."""
        kind, score, tokens = (played.kind, played.score, played.tokens) if played else (None, None, 0)
        self._speed.add(tokens)
        self._note(done, count, kind, score, str(self._speed))

    def _note(self, done: int, count: int, kind: str | None, score: float | None, speed: str = "") -> None:
        if not self.task_ids:
            self.add_task(printable(self._name), total=count, told="")
        if kind is not None and score is not None:
            self._scores[kind].add(score)
        means = [f"{kind} {mean.mean:.3f}" for kind, mean in self._scores.items() if mean.n]
        self.update(self.task_ids[0], completed=done, told=", ".join([*means, *([speed] if speed else [])]))


class _Mean:
    """A mean that keeps no values."""

    def __init__(self) -> None:
        self.n, self.mean = 0, 0.0

    def add(self, value: float) -> None:
        self.n += 1
        self.mean += (value - self.mean) / self.n


class _Speed:
    """Episodes and tokens per second since the first call."""

    def __init__(self) -> None:
        self._start = 0.0
        self._episodes = self._tokens = 0

    def add(self, tokens: int) -> None:
        if not self._start:
            self._start = perf_counter()
            return
        self._episodes += 1
        self._tokens += tokens

    def __str__(self) -> str:
        seconds = max(1e-9, perf_counter() - self._start)
        return f"{self._episodes / seconds:,.1f} episodes/s, {self._tokens / seconds:,.0f} tokens/s"


def _told(alarm: Mapping[str, Any]) -> str:
    return printable(f"! {alarm['name']}: {alarm['count']} of {alarm['n']} {alarm['of']}. {alarm['meaning']}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _people(part: Mapping[str, Any]) -> int | None:
    """Number of people of the figure that covers most."""
    figures = (part[metric].get("people") for metric, *_ in FIGURES if metric in part)
    return max((count for count in figures if count is not None), default=None)


def _cell(figure: Mapping[str, Any] | None, digits: int, people: int | None) -> str:
    if figure is None:
        return "–"
    return f"{figure['mean']:.{digits}f} {half(Interval(**figure), digits, people)}".rstrip()
