"""After the last step: the trained policy beside its controls, on people it never saw."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...evaluation.evaluate import Speed, evaluate
from ...evaluation.run import RunDirectory
from ..grpo.resuming import EVALUATIONS
from ..recipe import Training
from .contenders import TRAINED, contenders
from .report import write_report


def conclude(recipe: Training, out: Path, say: Callable[[str], Any]) -> None:
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


def _summary(recipe: Training, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The first test set's figures of the trained policy, and every table beside them."""
    first = next(iter(found.values()), {}).get(TRAINED, {})
    return {**first, "settings": {"recipe": recipe.about, "model": recipe.model}, "tests": found}
