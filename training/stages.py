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
from .policy import trained_spec
from .recipe import Recipe
from .reward_models.train import REPORT, RewardModelRecipe
from .settings import SettingsModel, check_settings, read_settings

Single = Recipe | SFTRecipe | RewardModelRecipe
_KINDS: Mapping[str, type[Single]] = {"grpo": Recipe, "sft": SFTRecipe, "reward-model": RewardModelRecipe}
_NAME = re.compile(r"[\w-]+")
_PLACE = re.compile(r"\{([\w-]*)\}")


class StagedRecipe(SettingsModel):
    """Stages in order, each a recipe by name.

    A stage without `model` starts with the newest policy. `{NAME}` is a variable, or the folder of an earlier stage.
    """

    about: str
    method: Literal["stages"]
    model: str = "pilot"
    seed: int = 0
    variables: dict[str, str] = Field(default_factory=dict)  # texts that several stages use
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
    if both := staged.variables.keys() & staged.stages.keys():
        raise OptionError(f"{min(both)!r} is both a variable and a stage: rename one, as {{NAME}} means either")
    found: list[Stage] = []
    newest = staged.model
    for name, settings in staged.stages.items():
        if not _NAME.fullmatch(name):
            raise OptionError(f"stage {name!r}: use letters, digits, - and _, as the name is also its folder's")
        given = {"about": f"{staged.about}: {name}", "seed": staged.seed, "model": newest} | settings
        texts = staged.variables | {stage.name: str(stage.folder) for stage in found}
        recipe = _checked(_placed(given, texts, name), f"stage {name}")
        found.append(Stage(name, recipe, out / name))
        if not isinstance(recipe, RewardModelRecipe):
            newest = trained_spec(recipe.model, out / name)
    return found


def _checked(content: Mapping[str, Any], name: str) -> Single:
    method = content.get("method", "grpo")
    if method not in _KINDS:
        raise OptionError(f"{name}: method={method!r}: give one of {', '.join(_KINDS)}, or stages (not within stages)")
    return check_settings(_KINDS[method], content, name)


def _placed(value: Any, texts: Mapping[str, str], stage: str) -> Any:
    """Replace `{NAME}` by the text of that name, at any depth."""
    match value:
        case str():
            return _PLACE.sub(partial(_text, texts, stage), value)
        case dict():
            return {name: _placed(inside, texts, stage) for name, inside in value.items()}
        case list():
            return [_placed(inside, texts, stage) for inside in value]
        case _:
            return value


def _text(texts: Mapping[str, str], stage: str, found: re.Match[str]) -> str:
    if found[1] not in texts:
        known = ", ".join(texts) or "none"
        raise OptionError(f"stage {stage}: {found[0]} is neither a variable nor an earlier stage; known: {known}")
    return texts[found[1]]
