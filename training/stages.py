"""Training in stages: each a run in a folder of its own, that begins with the policy of the one before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..errors import OptionError
from .lessons import FineTuning
from .policy import FINAL
from .recipe import Recipe
from .reward_models.contrast import REPORT, RewardModelling
from .settings import Part, check_settings, read_settings

Single = Recipe | FineTuning | RewardModelling
_KINDS: Mapping[str, type[Single]] = {"grpo": Recipe, "sft": FineTuning, "reward-model": RewardModelling}
_NAME = re.compile(r"[\w-]+")
_PLACE = re.compile(r"\{([\w-]*)\}")


class Staged(Part):
    """Stages in their order, each a recipe by its name.

    What a stage does not say of `model` is the newest policy's. `{NAME}` is the folder of a stage before it.
    """

    about: str
    method: Literal["stages"]
    model: str = "pilot"
    seed: int = 0
    stages: dict[str, dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """A recipe whose folders are known."""

    name: str
    recipe: Single
    folder: Path

    @property
    def done(self) -> bool:
        """Whether the last thing that it writes is there."""
        return (self.folder / (REPORT if isinstance(self.recipe, RewardModelling) else "report.html")).exists()


def load_any(path: str | Path, changes: Sequence[str] = ()) -> Single | Staged:
    """Of whichever method the recipe is."""
    content, name = read_settings(path, changes)
    if content.get("method") == "stages":
        return check_settings(Staged, content, name)
    return _checked(content, name)


def stages_of(staged: Staged, out: Path) -> list[Stage]:
    """All of them, with what they have of each other; refused where one cannot work."""
    if "," in str(out):
        raise OptionError(f"out={str(out)!r}: a comma would end the specs in which a stage names another's folder")
    found: list[Stage] = []
    newest = staged.model
    for name, settings in staged.stages.items():
        if not _NAME.fullmatch(name):
            raise OptionError(f"stage {name!r}: a name is letters, digits, - and _, as its folder is called by it")
        given = {"about": f"{staged.about}: {name}", "seed": staged.seed, "model": newest} | settings
        folders = {stage.name: str(stage.folder) for stage in found}
        recipe = _checked(_placed(given, folders, name), f"stage {name}")
        found.append(Stage(name, recipe, out / name))
        if not isinstance(recipe, RewardModelling):
            newest = f"hf:{out / name / FINAL}"
    return found


def _checked(content: Mapping[str, Any], name: str) -> Single:
    method = content.get("method", "grpo")
    if method not in _KINDS:
        raise OptionError(f"{name}: method={method!r}: give one of {', '.join(_KINDS)}, or stages for a whole recipe")
    return check_settings(_KINDS[method], content, name)


def _placed(value: Any, folders: Mapping[str, str], stage: str) -> Any:
    """With the folders of other stages in the place of their names, however deep they stand."""
    match value:
        case str():
            return _PLACE.sub(partial(_folder, folders, stage), value)
        case dict():
            return {name: _placed(inside, folders, stage) for name, inside in value.items()}
        case list():
            return [_placed(inside, folders, stage) for inside in value]
        case _:
            return value


def _folder(folders: Mapping[str, str], stage: str, found: re.Match[str]) -> str:
    if found[1] not in folders:
        known = ", ".join(folders) or "none"
        raise OptionError(f"stage {stage}: {found[0]} is no stage before it; there are: {known}")
    return folders[found[1]]
