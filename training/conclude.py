"""After the last step: the trained policy beside its controls, on people it never saw."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..evaluation.evaluate import Settings, Speed, evaluate
from ..evaluation.run import RunDirectory
from .course import EVALUATIONS, evaluation_settings
from .recipe import Recipe
from .report import write_report
from .train import FINAL

TRAINED = "trained"


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the last table: who plays, with which weights."""

    name: str
    settings: Settings


def conclude(recipe: Recipe, out: Path, say: Callable[[str], Any]) -> None:
    """Plays what is not played yet, and writes the report."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test, data in recipe.data.test.items():
        for contender in contenders(recipe, data, out):
            run = RunDirectory(out / EVALUATIONS / test / contender.name)
            speed = Speed(recipe.generation.in_flight, recipe.generation.deadline)
            summary = asyncio.run(evaluate(contender.settings, run, speed))
            found.setdefault(test, {})[contender.name] = summary
            if "score" in summary:
                say(f"{test}: {contender.name} {summary['score']['mean']:.3f}")
    RunDirectory(out).write_json("summary.json", _summary(recipe, found))
    write_report(recipe, out)


def contenders(recipe: Recipe, data: str, out: Path) -> Iterator[Contender]:
    """The trained policy, the controls with the weights that it started from, and what could be had."""
    start = evaluation_settings(recipe, data=data, limit=recipe.conclusion.questions, seeds=recipe.conclusion.seeds)
    yield Contender(TRAINED, replace(start, model=f"hf:{out / FINAL}"))
    for agent in recipe.conclusion.controls:
        yield Contender("untrained" if agent == recipe.agent else agent, replace(start, agent=agent))
    if recipe.conclusion.oracle is not None:
        yield Contender("oracle", replace(start, model=recipe.conclusion.oracle))


def _summary(recipe: Recipe, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The first test set's figures of the trained policy, and every table beside them."""
    first = next(iter(found.values()), {}).get(TRAINED, {})
    return {**first, "settings": {"recipe": recipe.about, "model": recipe.model}, "tests": found}
