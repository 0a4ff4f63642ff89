"""Training in stages: each stage is a run in its own folder and starts with the policy of the stage before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..errors import OptionError
from .lessons import SFTRecipe
from .policy import FINAL
from .recipe import Recipe
from .reward_models.train import REPORT, RewardModelRecipe
from .settings import SettingsModel, check_settings, read_settings

Single = Recipe | SFTRecipe | RewardModelRecipe
_KINDS: Mapping[str, type[Single]] = {"grpo": Recipe, "sft": SFTRecipe, "reward-model": RewardModelRecipe}
_NAME = re.compile(r"[\w-]+")
_PLACE = re.compile(r"\{([\w-]*)\}")


class StagedRecipe(SettingsModel):
    """Stages in order, each a recipe by name.

    A stage without `model` starts with the newest policy. `{NAME}` is the folder of an earlier stage.
    """

    about: str
    method: Literal["stages"]
    model: str = "pilot"
    seed: int = 0
    stages: dict[str, dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """A recipe and the folder of its run."""

    name: str
    recipe: Single
    folder: Path

    @property
    def done(self) -> bool:
        """Whether its last file is written."""
        return (self.folder / (REPORT if isinstance(self.recipe, RewardModelRecipe) else "report.html")).exists()


def load_any(path: str | Path, changes: Sequence[str] = ()) -> Single | StagedRecipe:
    """Load a recipe of any method."""
    content, name = read_settings(path, changes)
    if content.get("method") == "stages":
        return check_settings(StagedRecipe, content, name)
    return _checked(content, name)


def stages_of(staged: StagedRecipe, out: Path) -> list[Stage]:
    """All stages, with folders and models filled in; raises if one is invalid."""
    if "," in str(out):
        raise OptionError(
            f"out={str(out)!r}: a comma separates options in specs, in which stages name this folder; use another path"
        )
    found: list[Stage] = []
    newest = staged.model
    for name, settings in staged.stages.items():
        if not _NAME.fullmatch(name):
            raise OptionError(f"stage {name!r}: use letters, digits, - and _, as the name is also its folder's")
        given = {"about": f"{staged.about}: {name}", "seed": staged.seed, "model": newest} | settings
        folders = {stage.name: str(stage.folder) for stage in found}
        recipe = _checked(_placed(given, folders, name), f"stage {name}")
        found.append(Stage(name, recipe, out / name))
        if not isinstance(recipe, RewardModelRecipe):
            newest = f"hf:{out / name / FINAL}"
    return found


def _checked(content: Mapping[str, Any], name: str) -> Single:
    method = content.get("method", "grpo")
    if method not in _KINDS:
        raise OptionError(f"{name}: method={method!r}: give one of {', '.join(_KINDS)}, or stages (not within stages)")
    return check_settings(_KINDS[method], content, name)


def _placed(value: Any, folders: Mapping[str, str], stage: str) -> Any:
    """Replace `{NAME}` by the stage's folder, at any depth."""
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
        raise OptionError(f"stage {stage}: {found[0]} is not an earlier stage; known: {known}")
    return folders[found[1]]
