"""What a resumed run knows of the steps before it, and what it forgets of those that it will do again."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

from ...envs.trajectory import Trajectory
from ...evaluation.run import RunDirectory
from ..metrics import METRICS, read_metrics

EVALUATIONS, BEST = "evaluations", "best"


def forget_after(step: int, out: Path) -> None:
    """Evaluations of later steps, and the best policy where it is of a later step.

    The run plays them anew with weights that need not be the same: scores of the old ones would stand for the new.
    """
    for folder in (out / EVALUATIONS).glob("step-*"):
        if int(folder.name.removeprefix("step-")) > step:
            rmtree(folder)
    note = out / BEST / "best.json"
    if note.exists() and json.loads(note.read_text("utf-8"))["step"] > step:
        rmtree(out / BEST)


def steps_before(step: int, out: Path) -> Iterator[tuple[list[Trajectory], Mapping[str, Any]]]:
    """The episodes and the metrics of each step that is done, in their order."""
    played: dict[int, list[Trajectory]] = defaultdict(list)
    for trajectory in RunDirectory(out).trajectories():
        played[step_of(trajectory)].append(trajectory)
    for metrics in read_metrics(out / METRICS):
        if 0 < metrics["step"] <= step:
            yield played.get(metrics["step"] - 1, []), metrics


def step_of(trajectory: Trajectory) -> int:
    """Ids end in `:STEP-ROW` (`Place`), and steps are counted from 0 there."""
    return int(trajectory.id.rpartition(":")[2].partition("-")[0])
