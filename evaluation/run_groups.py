"""Groups of runs to compare: one run, or several that differ only in their seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from .recorded_run import RecordedRun
from .run import RunDirectory

SEED = "first_seed"
Settings = dict[str, Any]
RunGroups = Mapping[str, Mapping[int, RecordedRun]]  # by name and by seed


def find_groups(patterns: Sequence[str]) -> dict[str, dict[int, RecordedRun]]:
    """A group for each path or pattern such as `runs/a-*`."""
    if len(set(patterns)) < 2:
        raise OptionError("give at least two run directories, or patterns of several seeds, the reference first")
    return {pattern: _group(pattern) for pattern in patterns}


def _group(pattern: str) -> dict[int, RecordedRun]:
    folders = _folders(pattern)
    settings = {folder: _settings(folder) for folder in folders}
    first, found = folders[0], dict[int, Path]()
    for folder, own in settings.items():
        _same_but_for_the_seed(pattern, (first, settings[first]), (folder, own))
        if (other := found.setdefault(own.get(SEED, 0), folder)) != folder:
            raise OptionError(f"{pattern} names two runs of seed {own.get(SEED, 0)}, {other} and {folder}: keep one")
    return {seed: RecordedRun(RunDirectory(folder)) for seed, folder in sorted(found.items())}


def _same_but_for_the_seed(pattern: str, first: tuple[Path, Settings], other: tuple[Path, Settings]) -> None:
    names = dict.fromkeys((*first[1], *other[1]))
    differing = [name for name in names if name != SEED and first[1].get(name) != other[1].get(name)]
    if differing:
        raise OptionError(
            f"{pattern} mixes runs: {first[0]} and {other[0]} differ in {', '.join(differing)}, and runs of one group "
            "may differ in their seed alone; give each kind its own pattern"
        )


def _folders(pattern: str) -> list[Path]:
    """A directory with exactly that name takes precedence over a pattern."""
    if Path(pattern).is_dir() or not set(pattern) & set("*?["):
        return [Path(pattern)]
    path = Path(pattern)
    root = Path(path.anchor)
    found = sorted(one for one in root.glob(str(path.relative_to(path.anchor))) if one.is_dir())
    if not found:
        raise DataError(f"{pattern!r} matches no run directory")
    return found


def _settings(folder: Path) -> Settings:
    """A run's settings; for a trained model, those of its training replace its path, which differs by seed."""
    settings = RunDirectory(folder).settings
    if isinstance(settings.get("data"), Mapping):
        test = next(iter(settings["data"].get("test") or ()), "TEST")
        raise OptionError(
            f"{folder} is a training run: compare the evaluations of its policy, {folder}/evaluations/{test}/trained"
        )
    training = _training_of(folder, str(settings.get("model")))
    if training is None:
        return settings
    near = f"{training.path.parent}/"  # the folder of the other stages of the same run
    learned = {f"training {name}": json.dumps(value).replace(near, "") for name, value in training.settings.items()}
    learned.pop("training seed")
    return settings | learned | {"model": Path(str(settings["model"])).name, SEED: training.settings["seed"]}


def _training_of(folder: Path, model: str) -> RunDirectory | None:
    """The run directory that holds a model, also after the directory was moved."""
    if not model.startswith("hf:"):
        return None
    trained = Path(model.removeprefix("hf:").partition(",")[0]).parent
    moved = [one for one in folder.resolve().parents if one.name == trained.name]
    for place in (trained, *moved):
        if (place / "recipe.yaml").exists() and "seed" in RunDirectory(place).settings:
            return RunDirectory(place)
    return None
