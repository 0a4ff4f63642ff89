"""The runs behind `docs/results-llm.md`: where they are, what is left of them, and how they are made."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from os import environ
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import OptionError
from ..evaluation.evaluate import Settings
from ..evaluation.multi_seed import BySeed
from ..evaluation.run import RunDirectory
from ..training.grpo.resuming import EVALUATIONS
from ..training.metrics import METRICS
from ..training.policy import FINAL
from ..training.recipe import Recipe
from ..training.report.comparison import TRAINED, UNTRAINED, contenders
from ..training.settings import read_settings
from ..training.stages import Stage, StagedRecipe, load_any, stages_of
from . import llm_changes, llm_episodes
from .arms import SUMMARY
from .llm_arms import ARMS, FOLDS, LESSONS, LOCOMO, STARTS, TRIALS, WORLD
from .llm_records import Record, Records, changed_in, curve_of, habits_of, played_in, rollouts_of
from .llm_starts import pack, unpack

BEFORE_AFTER = 10  # questions
_DEADLINE = "7200"  # seconds of a trial's episode, as in the recipes


@dataclass(frozen=True, slots=True)
class Run:
    """One training, or one trial, at one seed or fold; `minutes` are of one core."""

    name: str
    number: int
    minutes: int

    @property
    def label(self) -> str:
        return f"{self.name}-{self.number}"


class Bench:
    """A folder for each run, those of trials in the folder of the run that they are played with, and their records.

    `changes` apply to all recipes; `file` is LoCoMo's.
    """

    def __init__(self, folder: Path, file: Path, records: Path, changes: Sequence[str] = ()) -> None:
        llm_changes.check(changes)
        self.folder, self.file, self._records, self._changes = folder, file, Records(records), tuple(changes)
        self._packing = Lock()  # two threads that import transformers at once fail

    def plan(self, only: Sequence[str] = ()) -> list[Run]:
        """What is wanted, in its order: warm starts, main recipes and controls seed by seed, then arms, then trials."""
        trained = [
            Run(name, number, arm.minutes) for number in range(3) for name, arm in ARMS.items() if number < arm.repeats
        ]
        played = [Run(name, number, trial.minutes) for name, trial in TRIALS.items() for number in range(trial.repeats)]
        trained.sort(key=lambda run: (ARMS[run.name].repeats == 1 and run.name not in STARTS, run.number))
        return [run for run in (*trained, *played) if not only or run.name in only]

    def state(self, run: Run) -> str:
        if (self.place(run) / (FINAL if run.name in LESSONS else SUMMARY)).exists():
            return "done"
        if self.record(run) is not None:
            return "recorded"
        return "begun" if self.place(run).exists() else "missing"

    def minutes(self, run: Run) -> int:
        """What a run that is to be made takes: a kept warm start takes none."""
        return 0 if run.name in LESSONS and self.record(run) is not None else run.minutes

    def left(self, only: Sequence[str] = ()) -> list[Run]:
        """What is to be made, with what it begins with where only the record of that is here."""
        runs = self.plan(only)
        missing = {run.label: run for run in runs if self.state(run) in ("begun", "missing")}
        for run in list(missing.values()):
            while not self.ready(run):
                run = self.start(run)
                missing.setdefault(run.label, run)
        return [run for run in self.plan() if run.label in missing]

    def make(self, run: Run) -> None:
        """Train or play in a process of its own, which resumes; needs what the run begins with."""
        if run.name in LESSONS and self.record(run) is not None:
            with self._packing:
                unpack(self.stage(run).recipe.model, self._records.start(run.label), self.place(run) / FINAL)
            return
        if run.name in TRIALS:
            command = ["eval", *self._trial(run).arguments, "--deadline", _DEADLINE, "--out", str(self.place(run))]
        else:
            command = ["train", ARMS[run.name].recipe, *self._settings(run), "--out", str(self._out(run))]
        with (self.folder / f"{run.label}.log").open("a") as log:
            ended = subprocess.run(  # noqa: S603 (ours)
                [sys.executable, "-m", "profilegym", *command],
                stdout=log,
                stderr=log,
                env=environ | {"OMP_NUM_THREADS": "1"},
            ).returncode
        if ended:
            raise OptionError(f"profilegym {shlex.join(command)} ended with {ended}: see {self.folder}/{run.label}.log")
        if run.name in LESSONS:
            with self._packing:
                self._keep_start(run)

    def ready(self, run: Run) -> bool:
        """Whether what the run begins with is there."""
        if run.name in ARMS and not ARMS[run.name].begins:
            return True
        after_training = run.name in TRIALS and TRIALS[run.name].who == "trained"
        return (self._out(self.start(run)) / (Path("grpo", SUMMARY) if after_training else Path("sft", FINAL))).exists()

    def start(self, run: Run) -> Run:
        """The training whose policy the run begins with: for one before GRPO, that of the warm start."""
        arm = TRIALS[run.name].arm if run.name in TRIALS else run.name
        after_training = run.name in TRIALS and TRIALS[run.name].who == "trained"
        name = arm if after_training else ARMS[arm].begins or arm
        return Run(name, run.number if ARMS[name].repeats > 1 else 0, ARMS[name].minutes)

    def place(self, run: Run) -> Path:
        """The folder whose summary says that the run is done."""
        if run.name in TRIALS:
            return self._out(replace(run, name=TRIALS[run.name].arm)) / "trials" / run.name
        return self.stage(run).folder

    def stage(self, run: Run) -> Stage:
        """The last stage, which learns from rewards; that of a trial is its arm's."""
        if run.name in TRIALS:
            run = replace(run, name=TRIALS[run.name].arm)
        found = load_any(ARMS[run.name].recipe, self._settings(run))
        assert isinstance(found, StagedRecipe)
        return stages_of(found, self._out(run))[-1]

    def played(self, name: str, test: str, who: str = TRAINED) -> BySeed:
        """The figures of an arm's contender, or of a trial, by seed or fold."""
        found = ((run.number, record.played.get(test, {}).get(who)) for run, record in self.records(name))
        return {number: played for number, played in found if played is not None}

    def records(self, name: str) -> list[tuple[Run, Record]]:
        """The runs of an arm or trial that are recorded."""
        return [(run, record) for run in self.plan([name]) if (record := self.record(run)) is not None]

    def record(self, run: Run) -> Record | None:
        return self._records.find(run.label, self._digest(run))

    def keep(self, run: Run) -> None:
        """Record a run that is done; one of other settings is an error."""
        folder = self.place(run)
        if run.name in LESSONS or not (folder / SUMMARY).exists():
            return
        record = Record(self._digest(run), _day(folder / SUMMARY), {})
        if run.name in TRIALS:
            record = replace(record, played={"test": {TRAINED: played_in(folder)}})
        else:
            self._check(run)
            record = self._of_training(record, folder / EVALUATIONS, texts=ARMS[run.name].recipe == WORLD)
        self._records.keep(run.label, record)
        self._keep_episodes(run)

    def show(self, run: Run) -> Path | None:
        """The kept test episodes of a run that is not here, unpacked for the viewer."""
        archive, out = self._records.episodes(run.label), self.folder / "recorded" / run.label
        if not archive.exists() or (self.place(run) / SUMMARY).exists():
            return None
        if not out.exists():
            llm_episodes.unpack(archive, out)
        return out

    def _keep_episodes(self, run: Run) -> None:
        """Those of the world, whose texts are this package's."""
        before, after = (self.place(run) / EVALUATIONS / "test" / who for who in (UNTRAINED, TRAINED))
        if run.name in ARMS and ARMS[run.name].recipe == WORLD and before.exists():
            llm_episodes.pack({"before": before, "after": after}, self._records.episodes(run.label))

    def _keep_start(self, run: Run) -> None:
        """What later runs begin with is what other machines will have, too."""
        self._check(run)
        base, final, file = self.stage(run).recipe.model, self.place(run) / FINAL, self._records.start(run.label)
        pack(base, final, file, {"settings": self._digest(run), "made": _day(final)})
        unpack(base, file, final)

    def _of_training(self, record: Record, folder: Path, texts: bool) -> Record:
        tests = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("step-"))
        played = {test.name: {who.name: played_in(who) for who in sorted(test.iterdir())} for test in tests}
        before, after = (folder / "test" / who for who in (UNTRAINED, TRAINED))
        return replace(
            record,
            played=played,
            curve=curve_of(folder),
            rollouts=rollouts_of(folder.parent / METRICS),
            habits={side.name: habits_of(side) for side in (before, after) if side.exists()},
            changed=changed_in(before, after, BEFORE_AFTER) if texts and before.exists() else (),
        )

    def _digest(self, run: Run) -> str:
        """Of all settings that bear on what a run finds."""
        if run.name in TRIALS:
            trial = TRIALS[run.name]
            settings = {"who": trial.who, "changes": trial.changes, "data": trial.data}
            return _digest(settings, self._digest(Run(trial.arm, run.number, 0)))
        content, _ = read_settings(ARMS[run.name].recipe, self._named(run))
        content.pop("about")
        return _digest(content, self._digest(self.start(run)) if ARMS[run.name].begins else "")

    def _trial(self, run: Run) -> Settings:
        trial, stage = TRIALS[run.name], self.stage(run)
        assert isinstance(stage.recipe, Recipe)
        data = stage.recipe.data.test["test"]
        wanted = TRAINED if trial.who == "trained" else UNTRAINED
        start = next(one.settings for one in contenders(stage.recipe, data, stage.folder) if one.name == wanted)
        if trial.data:
            start = replace(start, data=f"{data.partition(',')[0]},{trial.data}")
        return replace(start, **trial.changes)

    def _settings(self, run: Run) -> list[str]:
        found = self._named(run)
        if ARMS[run.name].recipe == LOCOMO:
            found.append(f"variables.file={self.file}")
        if ARMS[run.name].begins:
            found.append(f"model=hf:{self._out(self.start(run)) / 'sft' / FINAL}")
        return found

    def _named(self, run: Run) -> list[str]:
        """The changes to the recipe but for names of files."""
        arm = ARMS[run.name]
        found = [*arm.changes, f"seed={run.number}"]
        if arm.recipe == LOCOMO:
            named = zip(("train", "validation", "test"), FOLDS[run.number], strict=True)
            found += [f"variables.{name}={value}" for name, value in named]
        found += ["stages.sft=null"] * bool(arm.begins)
        return [*found, *llm_changes.fitting(self._changes, arm.recipe, found)]

    def _out(self, run: Run) -> Path:
        return self.folder / run.label

    def _check(self, run: Run) -> None:
        there = RunDirectory(self._out(run)).settings
        wanted = load_any(ARMS[run.name].recipe, self._settings(run)).model_dump()
        if other := [name for name in wanted if there.get(name) != wanted[name]]:
            raise OptionError(
                f"{self._out(run)} holds a run of other settings ({', '.join(other)}): "
                "delete it, or ask for its settings"
            )


def make_all(bench: Bench, runs: Sequence[Run], jobs: int) -> Iterator[str]:
    """Make what is missing, `jobs` at once; a run waits until what it begins with is there. Yields what went wrong."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    left = list(runs)
    with _interrupted_alone() as interrupted, ThreadPoolExecutor(jobs) as workers:
        made = set[Future[str | None]]()
        while True:
            while len(made) < jobs and not interrupted and (run := next(filter(bench.ready, left), None)):
                left.remove(run)
                made.add(workers.submit(_made, bench, run))
            if not made:
                break
            ended, made = wait(made, return_when=FIRST_COMPLETED)
            yield from filter(None, (one.result() for one in ended))
        for run in left:
            if not bench.ready(run):
                yield f"{run.label} waits for {bench.start(run).label}"


def _day(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"


def _digest(settings: Mapping[str, Any], start: str) -> str:
    return blake2b(json.dumps([settings, start], sort_keys=True).encode(), digest_size=8).hexdigest()


def _made(bench: Bench, run: Run) -> str | None:
    try:
        bench.make(run)
    except OptionError as error:
        return f"{run.label}: {error}"
    return None


@contextmanager
def _interrupted_alone() -> Iterator[list[bool]]:
    """On Ctrl-C wait for the trainings, which get the signal too and save their state; begin no other."""
    found: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda *_: found.append(True))
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)
