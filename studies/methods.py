"""Writes the tables of `docs/methods.md` from runs that it plays where they are missing; killed, it goes on.

python -m profilegym.studies.methods                                      # make methods
python -m profilegym.studies.methods --models openai:MODEL scripted:world # with a language model
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..agents.rpm.agent import AblationRow
from ..envs.trajectory import Trajectory
from ..errors import ProfileGymError
from ..evaluation.evaluate import Settings
from ..evaluation.intervals import Interval, Kind, Statistic, Sums, bootstrap, ratio
from ..evaluation.recorded_run import RecordedRun
from ..evaluation.run import RunDirectory
from ..evaluation.summary import score_of
from ..training.policy import FINAL
from ..training.stages import Stage, Staged, load_any, stages_of
from ..world.data.tables import task_tables
from .arms import OTHER_TOOLS, play
from .page import fill_in
from .tables import figure, table

PAGE, RUNS = Path("docs/methods.md"), Path("runs")  # of the checkout that it is run in
MODELS = ("pilot", "scripted:world")
LIMIT, SEEDS = 120, 3
TOOLS: dict[str, dict[str, Any]] = {"": {}, "k = 1": {"top_k": 1}, "k = 3": {"top_k": 3}} | OTHER_TOOLS
AGENTS = ("none", "rag", "rag-random", "recency", "plan", "pr2", "prlm", "tagpr")
_UNFIT = re.compile(r"[^A-Za-z0-9.=]+")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a task: what is summed up of an episode and its reference, and what is made of the sums."""

    name: str
    sums: Callable[[Trajectory, str], Sequence[float]]
    statistic: Statistic = ratio
    kind: Kind = "any"


@dataclass(frozen=True, slots=True)
class Task:
    """Questions, and the columns that LaMP reports on such ones."""

    data: str
    columns: tuple[Column, ...]
    judge: str | None = None
    recipe: str | None = None  # that trains a policy for it


@dataclass(frozen=True, slots=True)
class Row:
    """Who plays, by a name that a table and a folder can bear."""

    name: str
    agent: str
    retriever: str = "bm25"


def _macro_f1(totals: Sums) -> Sums:
    """Of two sums for each label: how often it was right, and how often it was given or should have been."""
    right, there = totals[:, 0::2], totals[:, 1::2]
    found: Sums = np.divide(2 * right, there, out=np.zeros_like(right), where=there > 0).mean(1)
    return found


def _labelled(played: Trajectory, reference: str) -> list[float]:
    answer = (played.answer or "").strip()
    return [
        float(value)
        for label in task_tables("tag").labels
        for value in (answer == label == reference, (answer == label) + (reference == label))
    ]


def _score(played: Trajectory, _: str) -> tuple[float, float]:
    return score_of(played) or 0.0, 1.0


def _part(name: str) -> Column:
    def sums(played: Trajectory, _: str) -> tuple[float, float]:
        return (played.reward.parts[name] if played.reward else 0.0), 1.0

    return Column(f"ROUGE-{name.removeprefix('rouge')}", sums, kind="fraction")


TASKS = {
    "world": Task("world:seed=7/test", (Column("score", _score, kind="fraction"),), "rubric", "pr2-world"),
    "world-lamp-2": Task(
        "world-lamp-2:seed=7,users=100/test",
        (Column("accuracy", _score, kind="share"), Column("macro-F1", _labelled, _macro_f1, "fraction")),
        recipe="tagpr-world-lamp-2",
    ),
    "world-lamp-3": Task(
        "world-lamp-3:seed=7,users=100/test",
        (
            Column("MAE", _score, lambda totals: -ratio(totals)),
            Column(
                "RMSE", lambda played, _: ((score_of(played) or 0.0) ** 2, 1.0), lambda totals: ratio(totals) ** 0.5
            ),
        ),
    ),
    "world-lamp-5": Task(
        "world-lamp-5:seed=7,users=100/test", (_part("rouge1"), _part("rougeL")), recipe="prlm-world-lamp-5"
    ),
}


class Bench:
    """Plays each row of a task's table, in a folder each; trained policies are those that recipes left in `runs`."""

    def __init__(self, runs: Path = RUNS, limit: int = LIMIT) -> None:
        self._runs, self._limit = runs, limit

    def table(self, name: str, models: Sequence[str]) -> str:
        """What models do as they come, then what was trained for the task."""
        rows = [*(cells for model in models for cells in self._as_they_come(name, model)), *self._trained(name)]
        heads = [column.name for column in TASKS[name].columns]
        return table(("method", "model", *heads, "tokens", "cost", "searches", "keeps its form", "seeds"), rows)

    def _as_they_come(self, name: str, model: str) -> Iterator[list[str]]:
        task, folder = TASKS[name], self._runs / "methods" / _named(model)
        seeds = 1 if model.startswith("scripted:") else SEEDS
        for row in _rows(model, folder / "people"):
            settings = Settings(row.agent, model, task.data, task.judge, row.retriever, self._limit, seeds)
            yield _cells(row.name, model, task, settings, folder / name / _named(row.name))

    def _trained(self, name: str) -> Iterator[list[str]]:
        """Each stage that ends with a policy, with the tools that it learned with and with others.

        They are played in the stage's own folder, which goes when it is trained anew.
        """
        task = TASKS[name]
        for stage in _policies(task.recipe, self._runs / task.recipe) if task.recipe else ():
            start = stage.recipe.playing(task.data, self._limit, seeds=SEEDS, model=f"hf:{stage.folder / FINAL}")
            for tool, changes in TOOLS.items():
                settings = replace(start, **changes)
                if tool and settings == start:
                    continue
                method = f"{stage.recipe.agent}, {tool}" if tool else stage.recipe.agent
                told = f"{task.recipe}, {stage.name}"
                yield _cells(method, told, task, settings, stage.folder / "methods" / _named(method))


def _rows(model: str, people: Path) -> Iterator[Row]:
    """R2P's template and RPM's questions are of forms that the pilot never saw."""
    yield from (Row(agent, agent) for agent in AGENTS)
    if model != "pilot":
        yield Row("r2p", "r2p")
        for upto in get_args(AblationRow):
            yield Row("rpm" if upto == "paths" else f"rpm:upto={upto}", f"rpm:models={people},upto={upto}")
        for agent in ("rag", "pr2"):
            yield Row(f"{agent}, features", agent, f"features:models={people}")


def _policies(recipe: str, folder: Path) -> Iterator[Stage]:
    """The stages of a recipe's run that have left one; a run without stages is one by itself."""
    found = load_any(recipe)
    stages = stages_of(found, folder) if isinstance(found, Staged) else [Stage(recipe, found, folder)]
    yield from (stage for stage in stages if (stage.folder / FINAL).exists())


def _cells(method: str, model: str, task: Task, settings: Settings, folder: Path) -> list[str]:
    summary = play(f"{settings.data}: {method}, {model}", settings, folder)
    unscored = summary["unscored"]["n"]
    return [
        f"`{method}`" + (f", {unscored} unscored" if unscored else ""),
        f"`{model}`",
        *map(figure, measured(folder, task.columns)),
        _tokens(summary),
        _number(summary["sums"]["cost"] or None, ".4g"),
        _number(_of(summary, "searches"), ".1f"),
        _number(_of(summary, "compliance", "structure"), ".2f"),
        str(settings.seeds),
    ]


def measured(folder: Path, columns: Sequence[Column]) -> list[Interval]:
    """Of the personalised episodes that are scored, or of the baselines where there is nothing else."""
    run = RecordedRun(RunDirectory(folder))
    scored = [one for one in run.trajectories() if score_of(one) is not None]
    played = [one for one in scored if one.kind == "personalised"] or scored
    return [_over_people(run, column, played) for column in columns]


def _over_people(run: RecordedRun, column: Column, played: Sequence[Trajectory]) -> Interval:
    sums: dict[str, Any] = {}
    for one in played:
        found = np.array(column.sums(one, run.find(one.question_id).rubric.reference or ""), float)
        sums[one.user_id] = sums.get(one.user_id, 0.0) + found
    return bootstrap(np.array(list(sums.values())), column.statistic, len(played), column.kind)


def _tokens(summary: Mapping[str, Any]) -> str:
    """Read and written in an episode."""
    told = [_number(_of(summary, name), ",.0f") for name in ("prompt_tokens", "completion_tokens")]
    return "–" if "–" in told else " + ".join(told)


def _of(summary: Mapping[str, Any], *names: str) -> float | None:
    """The mean of the first of these that was measured."""
    found = next((summary[name] for name in names if name in summary), None)
    return found and found["mean"]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _named(text: str) -> str:
    """As a folder can be called."""
    return _UNFIT.sub("-", text)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.studies.methods", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=MODELS, metavar="MODEL", help="pilot, scripted:world, openai:MODEL …"
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="fill in no other tables")
    parser.add_argument("--limit", type=int, default=LIMIT, help="questions of each task")
    parser.add_argument("--runs", type=Path, default=RUNS, help="the folder of the runs, and of what recipes trained")
    parser.add_argument("--page", type=Path, default=PAGE, help="with a place for each table")
    asked = parser.parse_args(arguments)
    bench = Bench(asked.runs, asked.limit)
    for name in asked.tasks:
        try:
            fill_in(asked.page, f"methods {name}", partial(bench.table, name, asked.models))
        except ProfileGymError as error:
            sys.exit(f"methods: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
