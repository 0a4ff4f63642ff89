"""Writes the tables of `docs/methods.md`; plays the missing runs and resumes after an interruption.

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
from ..training.policy import FINAL, trained_spec
from ..training.stages import Stage, StagedRecipe, load_any, stages_of
from ..world.data.tables import task_tables
from .arms import OTHER_TOOLS, play
from .page import UNKNOWN, figure, fill_in, table

PAGE, RUNS = Path("docs/methods.md"), Path("runs")  # in the working directory
MODELS = ("pilot", "scripted:world")
LIMIT, SEEDS = 120, 3
TOOLS: dict[str, dict[str, Any]] = {"": {}, "k = 1": {"top_k": 1}, "k = 3": {"top_k": 3}} | OTHER_TOOLS
AGENTS = ("none", "rag", "rag-random", "recency", "plan", "pr2", "prlm", "tagpr")
_UNFIT = re.compile(r"[^A-Za-z0-9.=]+")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a task: the sums of each episode and its reference, and the statistic of the sums."""

    name: str
    sums: Callable[[Trajectory, str], Sequence[float]]
    statistic: Statistic = ratio
    kind: Kind = "any"


@dataclass(frozen=True, slots=True)
class Task:
    """A data set, and the figures that LaMP reports on such data."""

    data: str
    columns: tuple[Column, ...]
    judge: str | None = None
    recipe: str | None = None  # trains a policy for the task


@dataclass(frozen=True, slots=True)
class Row:
    """A method, with a name for the table and the folder."""

    name: str
    agent: str
    retriever: str = "bm25"


def _macro_f1(totals: Sums) -> Sums:
    """From two sums for each label: correct answers, and answers plus references."""
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
    """Plays each row of a task's table in its own folder; trained policies are in the folders of their recipes."""

    def __init__(self, runs: Path = RUNS, limit: int = LIMIT) -> None:
        self._runs, self._limit = runs, limit

    def table(self, name: str, models: Sequence[str]) -> str:
        """The untrained models, then the policies trained for the task."""
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
        """Each stage with a policy, with the tools of its training and with others.

        They are played in the stage's folder, which is deleted with the stage.
        """
        task = TASKS[name]
        for stage in _policies(task.recipe, self._runs / task.recipe) if task.recipe else ():
            model = trained_spec(stage.recipe.model, stage.folder)
            start = stage.recipe.playing(task.data, self._limit, seeds=SEEDS, model=model)
            for tool, changes in TOOLS.items():
                settings = replace(start, **changes)
                if tool and settings == start:
                    continue
                method = f"{stage.recipe.agent}, {tool}" if tool else stage.recipe.agent
                told = f"{task.recipe}, {stage.name}"
                yield _cells(method, told, task, settings, stage.folder / "methods" / _named(method))


def _rows(model: str, people: Path) -> Iterator[Row]:
    """The pilot was not trained on R2P's template or RPM's questions."""
    yield from (Row(agent, agent) for agent in AGENTS)
    if model != "pilot":
        yield Row("r2p", "r2p")
        for upto in get_args(AblationRow):
            yield Row("rpm" if upto == "paths" else f"rpm:upto={upto}", f"rpm:models={people},upto={upto}")
        for agent in ("rag", "pr2"):
            yield Row(f"{agent}, features", agent, f"features:models={people}")


def _policies(recipe: str, folder: Path) -> Iterator[Stage]:
    """The finished stages with a policy; a run without stages counts as one."""
    found = load_any(recipe)
    stages = stages_of(found, folder) if isinstance(found, StagedRecipe) else [Stage(recipe, found, folder)]
    yield from (stage for stage in stages if (stage.folder / FINAL).exists())


def _cells(method: str, model: str, task: Task, settings: Settings, folder: Path) -> list[str]:
    summary = play(f"{settings.data}: {method}, {model}", settings, folder)
    unscored, cost = summary["unscored"]["n"], summary["sums"]["cost"]
    return [
        f"`{method}`" + (f", {unscored} unscored" if unscored else ""),
        f"`{model}`",
        *map(figure, measured(folder, task.columns)),
        _tokens(summary),
        f"{cost:.4g}" if cost else UNKNOWN,
        _mean(summary, ".1f", "searches"),
        _mean(summary, ".2f", "compliance", "structure"),
        str(settings.seeds),
    ]


def measured(folder: Path, columns: Sequence[Column]) -> list[Interval]:
    """Figures of the scored personalised episodes, or of the baselines if there are no others."""
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
    """Prompt and completion tokens an episode."""
    means = [_mean(summary, ",.0f", name) for name in ("prompt_tokens", "completion_tokens")]
    return UNKNOWN if UNKNOWN in means else " + ".join(means)


def _mean(summary: Mapping[str, Any], form: str, *names: str) -> str:
    """The mean of the first figure that was measured."""
    mean = next((summary[name]["mean"] for name in names if name in summary), None)
    return UNKNOWN if mean is None else format(mean, form)


def _named(text: str) -> str:
    """The text as a folder name."""
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
