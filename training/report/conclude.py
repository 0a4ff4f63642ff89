"""The end of a run: plays the test sets with the trained policy and its controls, and writes the report."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...evaluation.evaluate import Speed
from ...evaluation.run import RunDirectory
from ..grpo.resuming import EVALUATIONS
from ..processes import Processes, evaluate_together
from ..recipe import PolicyRecipe
from .comparison import TRAINED, contenders
from .report import write_report


def conclude(recipe: PolicyRecipe, out: Path, say: Callable[[str], Any]) -> None:
    """Play what is missing, then write `summary.json` and the report. Several processes share the questions."""
    processes = Processes.launched()
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test, data in recipe.data.test.items():
        for contender in contenders(recipe, data, out):
            run = RunDirectory(out / EVALUATIONS / test / contender.name)
            speed = Speed(recipe.generation.in_flight, recipe.generation.deadline)
            summary = evaluate_together(processes, contender.settings, run, speed, None, processes.share)
            found.setdefault(test, {})[contender.name] = summary
            if "score" in summary:
                say(f"{test}: {contender.name} {summary['score']['mean']:.3f}")
    if processes.first:
        RunDirectory(out).write_json("summary.json", _summary(recipe, found))
        write_report(recipe, out)


def _summary(recipe: PolicyRecipe, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The trained policy's figures on the first test set, and the figures of all contenders."""
    first = next(iter(found.values()), {}).get(TRAINED, {})
    return {**first, "settings": {"recipe": recipe.about, "model": recipe.model}, "tests": found}
