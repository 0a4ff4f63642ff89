"""Sides of a comparison: a run each, or several runs of one kind that differ in their seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from .played import PlayedRun
from .run import RunDirectory

SEED = "first_seed"
Settings = dict[str, Any]
Sides = Mapping[str, Mapping[int, PlayedRun]]  # by name and by seed


def sides_of(patterns: Sequence[str]) -> dict[str, dict[int, PlayedRun]]:
    """Of paths and of patterns such as `runs/a-*`, each a side."""
    if len(set(patterns)) < 2:
        raise OptionError("give at least two run directories, or patterns of several seeds, the reference first")
    return {pattern: _side(pattern) for pattern in patterns}


def _side(pattern: str) -> dict[int, PlayedRun]:
    folders = _folders(pattern)
    settings = {folder: _settings(folder) for folder in folders}
    first, found = folders[0], dict[int, Path]()
    for folder, told in settings.items():
        _same_but_for_the_seed(pattern, (first, settings[first]), (folder, told))
        if (other := found.setdefault(told.get(SEED, 0), folder)) != folder:
            raise OptionError(f"{pattern} names two runs of seed {told.get(SEED, 0)}, {other} and {folder}: keep one")
    return {seed: PlayedRun(RunDirectory(folder)) for seed, folder in sorted(found.items())}


def _same_but_for_the_seed(pattern: str, first: tuple[Path, Settings], other: tuple[Path, Settings]) -> None:
    names = dict.fromkeys((*first[1], *other[1]))
    differing = [name for name in names if name != SEED and first[1].get(name) != other[1].get(name)]
    if differing:
        raise OptionError(
            f"{pattern} mixes runs: {first[0]} and {other[0]} differ in {', '.join(differing)}, and runs of one side "
            "may differ in their seed alone; give each kind a pattern of its own"
        )


def _folders(pattern: str) -> list[Path]:
    """A directory of that very name comes before what the name would match as a pattern."""
    if Path(pattern).is_dir() or not set(pattern) & set("*?["):
        return [Path(pattern)]
    path = Path(pattern)
    root = Path(path.anchor)
    found = sorted(one for one in root.glob(str(path.relative_to(path.anchor))) if one.is_dir())
    if not found:
        raise DataError(f"{pattern!r} matches no run directory")
    return found


def _settings(folder: Path) -> Settings:
    """A policy that was trained here is told by its training's settings, as its path differs with every seed."""
    settings = RunDirectory(folder).settings
    if isinstance(settings.get("data"), Mapping):
        test = next(iter(settings["data"].get("test") or ()), "TEST")
        raise OptionError(
            f"{folder} is a training run: compare what its policy played, {folder}/evaluations/{test}/trained"
        )
    training = _training_of(folder, str(settings.get("model")))
    if training is None:
        return settings
    near = f"{training.path.parent}/"  # what other stages of the same run are in
    learned = {f"training {name}": json.dumps(value).replace(near, "") for name, value in training.settings.items()}
    learned.pop("training seed")
    return settings | learned | {"model": Path(str(settings["model"])).name, SEED: training.settings["seed"]}


def _training_of(folder: Path, model: str) -> RunDirectory | None:
    """The run directory that a model's path lies in, also where that has been moved with the runs inside."""
    if not model.startswith("hf:"):
        return None
    trained = Path(model.removeprefix("hf:")).parent
    moved = [one for one in folder.resolve().parents if one.name == trained.name]
    for place in (trained, *moved):
        if (place / "recipe.yaml").exists() and "seed" in RunDirectory(place).settings:
            return RunDirectory(place)
    return None
