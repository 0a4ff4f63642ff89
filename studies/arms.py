"""The training runs behind `docs/results.md`: which they are, and what plays them where they are missing."""

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
from ..training.report.contenders import TRAINED, UNTRAINED, contenders

SUMMARY, ELSEWHERE, GREEDY = "summary.json", "elsewhere", "greedy"


@dataclass(frozen=True, slots=True)
class Arm:
    """A recipe that comes with the package, and what is changed in it."""

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
    "pr2-world-top-k-5": Arm("pr2-world-top-k-5"),  # and for 3, what pr2-world gives
    "pr2-world-top-k-10": Arm("pr2-world-top-k-10"),
}
OTHER_TOOLS: dict[str, dict[str, Any]] = {  # that the trained policy did not learn with
    "k = 1": {"top_k": 1},
    "k = 5": {"top_k": 5},
    "k = 10": {"top_k": 10},
    "dense": {"retriever": "dense"},
    "hybrid": {"retriever": "hybrid"},
    "random": {"retriever": "random"},
}


class Bench:
    """Every arm at every seed, in a folder each; `changes` are made in all recipes."""

    def __init__(self, folder: Path, changes: Sequence[str] = ()) -> None:
        self._folder, self._changes = folder, tuple(changes)

    @cache  # noqa: B019 (a bench lives as long as the program)
    def recipe(self, arm: str, seed: int = 0) -> Recipe:
        return load_recipe(ARMS[arm].recipe, self._settings(arm, seed))

    def make(self, arm: str, seed: int) -> None:
        """In a process of its own, which goes on where it was; where that is interrupted, so is all of this."""
        if (self._out(arm, seed) / SUMMARY).exists():
            return
        command = ["train", ARMS[arm].recipe, *self._settings(arm, seed), "--out", str(self._out(arm, seed))]
        with _interrupted_alone():
            ended = subprocess.run([sys.executable, "-m", "profilegym", *command]).returncode  # noqa: S603 (ours)
        if ended:
            sys.exit(f"profilegym {shlex.join(command)} ended with {ended}; to go on there, run this again")

    def play_elsewhere(self, seed: int) -> None:
        """The trained policy with other tools than those that it learned with, and its weights as they are."""
        recipe, out = self.recipe(MAIN, seed), self._out(MAIN, seed)
        for test, data in recipe.data.test.items():
            as_trained = next(contenders(recipe, data, out)).settings
            for name, tools in OTHER_TOOLS.items():
                self._play(f"seed {seed}, {test}, {name}", replace(as_trained, **tools), out / elsewhere(test, name))

    def play_greedily(self, seed: int) -> None:
        """The policy before training and after it, with the likeliest token each time."""
        recipe, out = self.recipe(MAIN, seed), self._out(MAIN, seed)
        for test, data in recipe.data.test.items():
            for who in contenders(recipe, data, out):
                if who.name in (TRAINED, UNTRAINED):
                    settings = replace(who.settings, temperature=0.0)
                    self._play(f"seed {seed}, {test}, {who.name}, greedy", settings, out / greedy(test, who.name))

    def _play(self, name: str, settings: Settings, folder: Path) -> None:
        if not (folder / SUMMARY).exists():
            play(name, settings, folder)

    def contenders(self, arm: str) -> list[str]:
        """Who plays the test sets when a run of it ends."""
        return [contender.name for contender in contenders(self.recipe(arm), "world", Path())]

    @cache  # noqa: B019
    def played(self, arm: str, place: str) -> BySeed:
        """What was played in one folder of each of the arm's runs, where that ended."""
        folders = {seed: self._out(arm, seed) / place for seed in self._ended(arm)}
        return {
            seed: question_figures(RecordedRun(RunDirectory(folder)))
            for seed, folder in folders.items()
            if (folder / SUMMARY).exists()
        }

    @cache  # noqa: B019
    def _ended(self, arm: str) -> list[int]:
        """The seeds with which it was run to its end; refuses a run of other settings."""
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
    """Where in a run the trained policy's episodes with other tools are."""
    return f"{ELSEWHERE}/{test}/{tools.replace(' ', '')}"


def greedy(test: str, who: str) -> str:
    """Where in a run the episodes at temperature 0 are."""
    return f"{GREEDY}/{test}/{who}"


def play(name: str, settings: Settings, folder: Path) -> Mapping[str, Any]:
    """What is not played yet; gives the run's summary."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name)
        asyncio.run(
            evaluate(
                settings,
                RunDirectory(folder),
                Speed(),
                lambda done, count, _: progress.update(task, total=count, completed=done),
            )
        )
    found: dict[str, Any] = json.loads((folder / SUMMARY).read_text("utf-8"))
    return found


@contextmanager
def _interrupted_alone() -> Iterator[None]:
    """Ctrl-C reaches the process that trains as well: it has to be waited for, not killed while it saves."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # ignored outright, it would be ignored there too
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
