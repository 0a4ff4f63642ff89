"""A run directory: settings, trajectories and summary."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import yaml

from .._util.files import write_whole
from .._util.keys import without_keys
from ..envs.trajectory import BadLine, Trajectory, TrajectoryReader, TrajectoryWriter
from ..errors import DataError, OptionError

Form = Literal["sft", "dpo"]
Completed = Callable[[dict[str, Any]], Mapping[str, Any]]
_MOST_VALUES = 100_000  # of a recipe.yaml
_PACKAGES = ("profilegym", "numpy", "torch", "transformers", "trl", "openai")


class RunDirectory:
    """Written by one process at a time; files other than the trajectories are replaced in one move.

    No settings have an API key: a model or a judge that is made of them again takes its key from the environment.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.bad_lines: list[BadLine] = []

    @property
    def trajectories_file(self) -> Path:
        return self.path / "trajectories.jsonl"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run, without versions."""
        settings = self.recipe.get("settings") or {}
        if not isinstance(settings, dict):
            raise DataError(f"{self.path / 'recipe.yaml'}: settings is a {type(settings).__name__}, not a mapping")
        return dict(settings)

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings, versions, and the commit of the code."""
        file = self.path / "recipe.yaml"
        try:
            recipe = yaml.safe_load(file.read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{self.path} is no run directory: it has no recipe.yaml") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # also of a date that there is not
            raise DataError(f"{file} cannot be read: {error}") from error
        if not isinstance(recipe, dict):
            raise DataError(f"{file} holds a {type(recipe).__name__}, not a mapping of settings")
        if _size(recipe) > _MOST_VALUES:
            raise DataError(f"{file} holds more than {_MOST_VALUES:,} values, with those that its aliases repeat")
        return dict(without_keys(recipe))

    @contextmanager
    def writing(self, settings: Mapping[str, Any], completed: Completed = dict) -> Iterator[None]:
        """Starts a run, or continues one with the same settings; refuses another run.

        `completed` fills in what is newer than the run in its settings.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise OptionError(f"{self.path} is a file, or would lie in one: name a folder, by another --out") from None
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OptionError(
                    f"another process is writing to {self.path}: wait for it, or name another --out"
                ) from None
            self._begin(without_keys(settings), completed)
            yield

    @contextmanager
    def writing_episodes(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """As `writing`, of a run that is nothing but its episodes: one that fails before the first is forgotten."""
        with self.writing(settings):
            try:
                yield
            except BaseException:
                if not self.trajectories_file.exists() or not self.trajectories_file.stat().st_size:
                    (self.path / "recipe.yaml").unlink()
                raise

    def trajectories(self) -> Iterator[Trajectory]:
        """The newest line of each episode; unreadable lines are skipped and listed in `bad_lines`."""
        newest: dict[str, int] = {}
        for number, trajectory in enumerate(self._lines()):
            newest[trajectory.id] = number
        for number, trajectory in enumerate(self._lines()):
            if newest.get(trajectory.id) == number:
                yield trajectory

    def finished(self) -> Iterator[Trajectory]:
        """Episodes that did not end by an error of ours, and need not be played again."""
        return (trajectory for trajectory in self.trajectories() if trajectory.ended != "error")

    def to_dataset(self, form: Form = "sft", min_score: float | None = None) -> Any:
        """The episodes as a `datasets.Dataset` for TRL's trainers.

        `sft`: a conversation a row, of the episodes with the profile that score at least `min_score`. `dpo`: pairs of a
        question's answers with the profile and without it, the better one chosen, after the same searches.
        """
        from .run_dataset import dataset_of

        return dataset_of(self, form, min_score)

    def writer(self) -> TrajectoryWriter:
        return TrajectoryWriter(self.trajectories_file)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        write_whole(self.path / name, text)

    def _lines(self) -> Iterator[Trajectory]:
        if not self.trajectories_file.exists():
            return
        reader = TrajectoryReader(self.trajectories_file)
        yield from reader
        self.bad_lines = reader.bad_lines

    def _begin(self, settings: dict[str, Any], completed: Completed) -> None:
        if not (self.path / "recipe.yaml").exists():
            recipe = {"settings": settings, "versions": _versions(), "commit": _commit()}
            self.write_text("recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
            return
        there = without_keys(completed(self.settings))
        # An option that is newer than the run was off there.
        changed = [n for n in {**there, **settings} if (there.get(n) or None) != (settings.get(n) or None)]
        if changed:
            told = ", ".join(f"{name}={there.get(name)!r} there, {settings.get(name)!r} now" for name in changed)
            raise OptionError(f"{self.path} holds another run ({told}): name another --out, or delete it")


def _size(content: Any) -> int:
    """How many values it holds. Counting ends where there are too many, as aliases can repeat them without end."""
    waiting, size = [content], 0
    while waiting and size <= _MOST_VALUES:
        one = waiting.pop()
        size += 1
        if isinstance(one, Mapping | list):
            waiting += one.values() if isinstance(one, Mapping) else one
    return size


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the checkout that the code runs from; None outside one."""
    here = Path(__file__).parent
    try:
        asked = subprocess.run(  # noqa: S603 (no outside input)
            ["git", "-C", str(here), "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
