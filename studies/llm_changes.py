"""What `--set` of `results_llm` changes: a setting of a stage in the runs that have this stage."""

import re
from collections.abc import Sequence

from ..errors import OptionError
from ..training.settings import read_settings
from .llm_arms import ARMS

_STAGE = re.compile(r"stages\.(\w+)")


def check(changes: Sequence[str]) -> None:
    """A stage that no recipe has is an error."""
    known = sorted({stage for arm in ARMS.values() for stage in _stages(arm.recipe)})
    for change in changes:
        if (stage := _stage_of(change)) not in (None, *known):
            raise OptionError(f"--set {change}: no recipe has a stage {stage!r}; known: {', '.join(known)}")


def fitting(changes: Sequence[str], recipe: str, own: Sequence[str]) -> list[str]:
    """The changes for a run of the recipe with changes of its own, which may leave stages out."""
    there = _stages(recipe, own)
    return [change for change in changes if _stage_of(change) in (None, *there)]


def _stage_of(change: str) -> str | None:
    found = _STAGE.match(change)
    return found[1] if found else None


def _stages(recipe: str, changes: Sequence[str] = ()) -> list[str]:
    stages = read_settings(recipe, changes)[0]["stages"]
    return [name for name, settings in stages.items() if settings is not None]
