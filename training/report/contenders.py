"""Who plays the test sets at the end of a run, with which weights."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...evaluation.evaluate import Settings
from ..policy import FINAL
from ..recipe import Training

TRAINED, UNTRAINED, STARTING, ORACLE = "trained", "untrained", "none", "oracle"


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the last table."""

    name: str
    settings: Settings


def contenders(recipe: Training, data: str, out: Path) -> Iterator[Contender]:
    """The trained policy, the controls with the weights that it started from, and what could be had."""
    start = recipe.playing(data, recipe.conclusion.questions, seeds=recipe.conclusion.seeds)
    yield Contender(TRAINED, replace(start, model=f"hf:{out / FINAL}"))
    for agent in recipe.conclusion.controls:
        yield Contender(UNTRAINED if agent == recipe.agent else agent, replace(start, agent=agent))
    if recipe.conclusion.oracle is not None:
        yield Contender(ORACLE, replace(start, model=recipe.conclusion.oracle))
