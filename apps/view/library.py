"""The runs that the viewer shows, and what is known of each."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from ...envs.trajectory import Trajectory
from ...errors import DataError, ProfileGymError
from ...evaluation.evaluate import Settings
from ...evaluation.intervals import Interval
from ...evaluation.late_verdicts import FILE as VERDICTS
from ...evaluation.run import RunDirectory
from .entry import Entries
from .index import Index
from .play_options import PROFILES, refused_of, settings_of
from .questions import Questions

_DEPTH = 6  # folders between a directory that was named and a run in it: RUN/STAGE/evaluations/TEST/WHO, and one more
TRAJECTORIES, BRANCHES = "trajectories", "branches"
_FILES = ("recipe.yaml", "trajectories.jsonl", "branches.jsonl", "metrics.jsonl", "summary.json", VERDICTS)


class OutsideError(ProfileGymError):
    """A path leads out of the directories that were named."""


def inside(root: Path, name: str) -> Path:
    """The file of that name with all links resolved. Raises `OutsideError` if that is outside `root`."""
    path, base = os.path.realpath(root / name), _real(root)
    if path != base and not path.startswith(os.path.join(base, "")):
        raise OutsideError(f"{root / name} leads out of {root}, to {path}: it is neither read nor written")
    return Path(path)


@lru_cache(maxsize=4096)
def _real(root: Path) -> str:
    """Remembered, so that a folder that becomes a link is refused."""
    return os.path.realpath(root)


class Run:
    """One run directory. Its files are read when they are asked for, as they may still be growing."""

    def __init__(self, key: str, path: Path) -> None:
        self.key = key
        self.path = path
        self.recipe_changed = self.changed_at("recipe.yaml")  # what is read of it is remembered

    @cached_property
    def settings(self) -> dict[str, Any]:
        """From recipe.yaml; empty if there is none."""
        if not inside(self.path, "recipe.yaml").exists():
            return {}
        return RunDirectory(self.path).settings

    @cached_property
    def played_with(self) -> Settings:
        """The settings as those of an evaluation; the defaults if they cannot be read."""
        try:
            return settings_of(self.settings)
        except (ProfileGymError, TypeError, KeyError, AttributeError):
            return Settings()

    @cached_property
    def refused(self) -> dict[str, str]:
        """Specs in its recipe that are not used here."""
        try:
            return refused_of(self.settings)
        except (ProfileGymError, TypeError, KeyError, AttributeError):
            return {}

    @cached_property
    def questions(self) -> Questions:
        asked: Any = self.settings.get("profile")  # of a run that was played again with other posts
        return Questions(self.played_with.data, asked if asked in PROFILES else None)

    @property
    def learns(self) -> bool:
        """Whether it is a training run."""
        return "optimiser" in self.settings

    @property
    def train_baseline(self) -> bool:
        """Whether tokens of baselines are in the loss."""
        return bool(self.settings.get("train_baseline", "masked") != "masked")

    def index(self, name: str = TRAJECTORIES, seconds: float = 0.3) -> Index:
        """The index of its trajectories or its branches. New lines are indexed first, for about so many seconds.

        Raises `DataError` if the file does not exist yet.
        """
        file = inside(self.path, f"{name}.jsonl")
        if not file.exists():
            raise DataError(f"{self.path} has no {name}.jsonl yet")
        for ending in ("", "-wal", "-shm", "-journal"):
            inside(self.path, f".{name}.index{ending}")
        self._indexes[name].refresh(seconds)
        return self._indexes[name]

    def has(self, name: str) -> bool:
        return inside(self.path, f"{name}.jsonl").exists()

    def trajectory(self, name: str, row: int) -> Trajectory:
        return self.index(name).trajectory(row)

    def marks(self, name: str, row: int) -> list[str]:
        """Flags and signs of one trajectory."""
        return [found["mark"] for found in self.index(name).ask("SELECT mark FROM marks WHERE row = ?", (row,))]

    def indexed(self, seconds: float) -> int:
        """How many bytes of its trajectories are indexed, after indexing for about so many seconds."""
        try:
            return self.index(seconds=seconds).progress.bytes if self.has(TRAJECTORIES) else 0
        except (ProfileGymError, OSError):  # its page tells
            return 0

    @property
    def summary(self) -> dict[str, Any] | None:
        """summary.json; None while the run is not finished, or has been resumed."""
        if self.changed_at("trajectories.jsonl") > self.changed_at("summary.json"):
            return None
        try:
            summary = json.loads(inside(self.path, "summary.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return summary if isinstance(summary, dict) and _is_readable(summary) else None

    @property
    def is_summed_up(self) -> bool:
        """Whether its summary has a score: that of a training run without test sets does not."""
        summary = self.summary
        return summary is not None and ("score" in summary or not self.learns)

    @property
    def weights(self) -> list[str]:
        """Specs of the models in it."""
        folders = [inside(self.path, name) for name in ("final", "best", "checkpoints")]
        kept = (folder for found in folders for folder in (found, *sorted(found.glob("checkpoint-*"), key=_step)))
        return [f"hf:{folder}" for folder in kept if (folder / "config.json").is_file()]

    @property
    def changed(self) -> float:
        """When it was last written to, in seconds since 1970."""
        return max(self.changed_at(name) for name in ("trajectories.jsonl", "metrics.jsonl", "recipe.yaml"))

    @property
    def stamp(self) -> str:
        """Changes as soon as there is something new to show."""
        names = ("trajectories.jsonl", "metrics.jsonl", "summary.json", "branches.jsonl", VERDICTS)
        return "-".join(f"{_size(inside(self.path, name)):x}" for name in names)

    @cached_property
    def _indexes(self) -> dict[str, Index]:
        entries = Entries(self.questions.find, self.played_with.max_searches)
        verdicts = self.path / VERDICTS
        return {name: Index(self.path / f"{name}.jsonl", entries, verdicts) for name in (TRAJECTORIES, BRANCHES)}

    def changed_at(self, name: str) -> float:
        """0 where there is no such file."""
        try:
            return inside(self.path, name).stat().st_mtime
        except FileNotFoundError:
            return 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """A directory that is not shown, and why."""

    path: Path
    problem: str


class Library:
    """Looks into the directories that were named, and nowhere else. A run is found by its key, never by a path."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(dict.fromkeys(root.resolve() for root in roots))
        self._runs: dict[Path, Run] = {}

    def find(self, key: str) -> Run:
        run = self.runs().get(key)
        if run is None:
            raise DataError(f"there is no run {key!r} among those that are shown")
        return run

    def runs(self) -> dict[str, Run]:
        """By key, the latest first, with directories that were made since the server started."""
        found: dict[str, Run] = {}
        for root in self.roots:
            for path in _directories(root):
                if isinstance(path, Path):
                    run = self._run(path, root, found)
                    found[run.key] = run
        return dict(sorted(found.items(), key=lambda item: -item[1].changed))

    def within(self, run: Run) -> list[Run]:
        """The runs inside it, such as the evaluations of a training run, in the order of their paths."""
        found = (one for one in self.runs().values() if run.path in one.path.parents)
        return sorted(found, key=lambda one: one.path)

    def last_stage(self, run: Run) -> Run | None:
        """Of a run in stages, the last one that has begun."""
        named = run.settings.get("stages")
        paths = [run.path / str(name) for name in named] if isinstance(named, dict) else []
        return next((self._runs[path] for path in reversed(paths) if path in self._runs), None)

    def models(self) -> list[str]:
        """Specs of the models in all runs."""
        return [spec for run in self.runs().values() for spec in run.weights]

    def refused(self) -> list[Refused]:
        return [path for root in self.roots for path in _directories(root) if isinstance(path, Refused)]

    def _run(self, path: Path, root: Path, taken: dict[str, Run]) -> Run:
        name = "~".join(path.relative_to(root).parts) or path.name
        key = next(key for key in _numbered(name) if key not in taken)
        known = self._runs.get(path)
        if known is None or (known.key, known.recipe_changed) != (key, known.changed_at("recipe.yaml")):
            known = self._runs[path] = Run(key, path)
        return known


def _directories(root: Path) -> Iterator[Path | Refused]:
    """The run directories in it; those outside it, behind a link, are refused."""
    pending = [(root, 0)]
    while pending:
        path, depth = pending.pop()
        try:
            inside(root, str(path.relative_to(root)))
            for name in _FILES:
                inside(path, name)
        except OutsideError as error:
            yield Refused(path, f"{error}. To see it, name it: profilegym view {path}")
            continue
        if _is_run(path):
            yield path
        if depth < _DEPTH and path.is_dir():  # a training run holds its evaluations
            pending += [(inner, depth + 1) for inner in sorted(path.iterdir(), reverse=True) if _may_hold(inner)]


def _is_run(path: Path) -> bool:
    return any((path / name).exists() for name in ("trajectories.jsonl", "metrics.jsonl", "recipe.yaml"))


def _may_hold(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "checkpoint"))


def _step(checkpoint: Path) -> tuple[int, str]:
    return len(checkpoint.name), checkpoint.name


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        number += 1
        yield f"{name}~{number}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_readable(summary: dict[str, Any]) -> bool:
    """Whether what the pages show of a summary has its form."""
    figures = [summary[name] for name in ("score", "gain") if name in summary]
    alarms = summary.get("alarms", [])
    return all(map(_is_figure, figures)) and isinstance(alarms, list) and all(isinstance(one, dict) for one in alarms)


def _is_figure(found: Any) -> bool:
    if not isinstance(found, dict) or not {"mean", "low", "high", "n"} <= set(found) <= set(Interval.__slots__):
        return False
    return all(value is None or (isinstance(value, int | float) and isfinite(value)) for value in found.values())
