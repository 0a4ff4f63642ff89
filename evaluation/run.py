"""A run directory: what was asked for, every episode as it ended, and what came of it."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ..envs.trajectory import BadLine, Trajectory, TrajectoryReader, TrajectoryWriter
from ..errors import DataError, OptionError

_PACKAGES = ("profilegym", "numpy", "torch", "transformers", "trl", "openai")


class RunDirectory:
    """Written by one process at a time; every file but the trajectories is written whole or not at all."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.bad_lines: list[BadLine] = []

    @property
    def trajectories_file(self) -> Path:
        return self.path / "trajectories.jsonl"

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked for, without versions."""
        return dict(self.recipe.get("settings") or {})

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings, versions, and the commit that it was run from."""
        file = self.path / "recipe.yaml"
        try:
            recipe = yaml.safe_load(file.read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{self.path} is no run directory: it has no recipe.yaml") from None
        except yaml.YAMLError as error:
            raise DataError(f"{file} cannot be read: {error}") from error
        if not isinstance(recipe, dict):
            raise DataError(f"{file} holds {type(recipe).__name__}, not settings")
        return recipe

    @contextmanager
    def writing(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Begin a run, or go on with one of the same settings; refuses any other that is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OptionError(
                    f"another process is writing to {self.path}: wait for it, or name another --out"
                ) from None
            self._begin(dict(settings))
            yield

    def trajectories(self) -> Iterator[Trajectory]:
        """The newest line of each episode; lines that are none are passed over and named in `bad_lines`."""
        newest: dict[str, int] = {}
        for number, trajectory in enumerate(self._lines()):
            newest[trajectory.id] = number
        for number, trajectory in enumerate(self._lines()):
            if newest.get(trajectory.id) == number:
                yield trajectory

    def finished(self) -> Iterator[Trajectory]:
        """Those that need not be played again: a failure of ours is another matter."""
        return (trajectory for trajectory in self.trajectories() if trajectory.ended != "error")

    def writer(self) -> TrajectoryWriter:
        return TrajectoryWriter(self.trajectories_file)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """In one move, so that nobody ever reads half of it."""
        unfinished = self.path / f".{name}.part"
        unfinished.write_text(text, "utf-8")
        unfinished.replace(self.path / name)

    def _lines(self) -> Iterator[Trajectory]:
        if not self.trajectories_file.exists():
            return
        reader = TrajectoryReader(self.trajectories_file)
        yield from reader
        self.bad_lines = reader.bad_lines

    def _begin(self, settings: dict[str, Any]) -> None:
        if not (self.path / "recipe.yaml").exists():
            recipe = {"settings": settings, "versions": _versions(), "commit": _commit()}
            self.write_text("recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
            return
        there = self.settings
        changed = [name for name in {**there, **settings} if there.get(name) != settings.get(name)]
        if changed:
            told = ", ".join(f"{name}={there.get(name)!r} there, {settings.get(name)!r} now" for name in changed)
            raise OptionError(f"{self.path} holds another run ({told}): name another --out, or delete it")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Of the checkout that the code was run from, where it is one."""
    here = Path(__file__).parent
    try:
        asked = subprocess.run(  # noqa: S603 (no outside input)
            ["git", "-C", str(here), "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
