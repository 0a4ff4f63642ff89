"""The training runs behind `docs/results.md`: their recipes, and how the missing ones are made."""

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from ..errors import OptionError
from ..evaluation.evaluate import Settings, Speed, evaluate
from ..evaluation.multi_seed import BySeed, question_figures
from ..evaluation.recorded_run import RecordedRun
from ..evaluation.run import RunDirectory
from ..training.recipe import Recipe, load_recipe
from ..training.report.comparison import TRAINED, UNTRAINED, contenders

SUMMARY, ELSEWHERE, GREEDY = "summary.json", "elsewhere", "greedy"


@dataclass(frozen=True, slots=True)
class Arm:
    """A recipe of the package, with changes."""

    recipe: str
    changes: tuple[str, ...] = ()


MAIN, ONE_SHOT = "pr2-world", "rag-world"
ARMS = {
    MAIN: Arm(MAIN),
    ONE_SHOT: Arm(MAIN, ("agent=rag",)),
    "pr2-world-no-baseline": Arm("pr2-world-no-baseline"),
    "pr2-world-delta": Arm("pr2-world-delta"),
    "pr2-world-code": Arm("pr2-world-code"),
    "pr2-world-positive": Arm(MAIN, ("train_baseline=positive",)),
    "pr2-world-all": Arm(MAIN, ("train_baseline=all",)),
    "pr2-world-top-k-1": Arm("pr2-world-top-k-1"),
    "pr2-world-top-k-5": Arm("pr2-world-top-k-5"),  # pr2-world itself has 3
    "pr2-world-top-k-10": Arm("pr2-world-top-k-10"),
}
OTHER_TOOLS: dict[str, dict[str, Any]] = {  # not used in training
    "k = 1": {"top_k": 1},
    "k = 5": {"top_k": 5},
    "k = 10": {"top_k": 10},
    "dense": {"retriever": "dense"},
    "hybrid": {"retriever": "hybrid"},
    "random": {"retriever": "random"},
}


class Bench:
    """A folder for each arm and seed; `changes` apply to all recipes."""

    def __init__(self, folder: Path, changes: Sequence[str] = ()) -> None:
        self._folder, self._changes = folder, tuple(changes)

    @cache  # noqa: B019 (a bench lives as long as the program)
    def recipe(self, arm: str, seed: int = 0) -> Recipe:
        return load_recipe(ARMS[arm].recipe, self._settings(arm, seed))

    def make(self, arm: str, seed: int) -> None:
        """Train in a separate process, which resumes; if it is interrupted, so is this program."""
        if (self._out(arm, seed) / SUMMARY).exists():
            return
        command = ["train", ARMS[arm].recipe, *self._settings(arm, seed), "--out", str(self._out(arm, seed))]
        with _interrupted_alone():
            ended = subprocess.run([sys.executable, "-m", "profilegym", *command]).returncode  # noqa: S603 (ours)
        if ended:
            sys.exit(f"profilegym {shlex.join(command)} ended with {ended}; to go on there, run this again")

    def play_further(self, seed: int) -> None:
        """Play the trained policy with tools that it was not trained with, and before and after training greedily."""
        recipe, out = self.recipe(MAIN, seed), self._out(MAIN, seed)
        for test, data in recipe.data.test.items():
            playing = {who.name: who.settings for who in contenders(recipe, data, out)}
            places = {elsewhere(test, name): replace(playing[TRAINED], **of) for name, of in OTHER_TOOLS.items()}
            places |= {greedy(test, who): replace(playing[who], temperature=0.0) for who in (TRAINED, UNTRAINED)}
            for place, settings in places.items():
                if not (out / place / SUMMARY).exists():
                    play(f"seed {seed}, {place}", settings, out / place)

    def contenders(self, arm: str) -> list[str]:
        """The names of the contenders on a run's test sets."""
        return [contender.name for contender in contenders(self.recipe(arm), "world", Path())]

    @cache  # noqa: B019
    def played(self, arm: str, place: str) -> BySeed:
        """The episodes in one folder of each finished run of the arm."""
        folders = {seed: self._out(arm, seed) / place for seed in self._ended(arm)}
        return {
            seed: question_figures(RecordedRun(RunDirectory(folder)))
            for seed, folder in folders.items()
            if (folder / SUMMARY).exists()
        }

    @cache  # noqa: B019
    def _ended(self, arm: str) -> list[int]:
        """The seeds of the arm's finished runs; raises if one has other settings."""
        found = (path.parent.name.removeprefix(f"{arm}-") for path in self._folder.glob(f"{arm}-*/{SUMMARY}"))
        seeds = sorted(int(seed) for seed in found if seed.isdecimal())
        for seed in seeds:
            self._check(arm, seed)
        return seeds

    def _out(self, arm: str, seed: int) -> Path:
        return self._folder / f"{arm}-{seed}"

    def _settings(self, arm: str, seed: int) -> list[str]:
        return [*ARMS[arm].changes, f"seed={seed}", *self._changes]

    def _check(self, arm: str, seed: int) -> None:
        there, wanted = RunDirectory(self._out(arm, seed)).settings, self.recipe(arm, seed).model_dump()
        other = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
        if other:
            raise OptionError(
                f"{self._out(arm, seed)} holds a run of other settings ({', '.join(other)}): "
                "delete it, or ask for its settings"
            )


def elsewhere(test: str, tools: str) -> str:
    """The run's folder for the trained policy's episodes with other tools."""
    return f"{ELSEWHERE}/{test}/{tools.replace(' ', '')}"


def greedy(test: str, who: str) -> str:
    """The run's folder for episodes at temperature 0."""
    return f"{GREEDY}/{test}/{who}"


def play(name: str, settings: Settings, folder: Path) -> Mapping[str, Any]:
    """Play what is missing; return the run's summary."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name)

        def show(done: int, count: int, _: Any) -> None:
            progress.update(task, total=count, completed=done)

        asyncio.run(evaluate(settings, RunDirectory(folder), Speed(), show))
    found: dict[str, Any] = json.loads((folder / SUMMARY).read_text("utf-8"))
    return found


@contextmanager
def _interrupted_alone() -> Iterator[None]:
    """On Ctrl-C wait for the training process, which gets the signal too and saves its state."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # SIG_IGN would be inherited by the process
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
