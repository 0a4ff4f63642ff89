"""`profilegym replay`: repeats a run's queries with another retriever, or its episodes from a step on."""

import asyncio
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from .._util.counted import counted
from ..envs.data.profile_controls import ProfileOf
from ..evaluation.branch import Changes, branch
from ..evaluation.evaluate import Speed
from ..evaluation.intervals import BRACKETS, Interval, spread
from ..evaluation.recorded_run import RecordedRun
from ..evaluation.replay import Replay, replay
from ..evaluation.run import RunDirectory
from .eval import Bar, tell


def run_replay(
    path: Path, retriever: str | None, top_k: int | None, profile: ProfileOf | None, as_json: bool = False
) -> None:
    run = RecordedRun(RunDirectory(path))
    found = replay(run, retriever, top_k, profile)
    if as_json:
        Console().print_json(data=asdict(found), ensure_ascii=False)
    else:
        Console().print(_table(found), *_notes(found), sep="\n", highlight=False, markup=False)


def run_rerun(path: Path, changes: Changes, out: Path, as_json: bool = False) -> int:
    """Returns 1 if nothing could be scored, else 0."""
    parent, run, console = RecordedRun(RunDirectory(path)), RunDirectory(out), Console(stderr=as_json)
    with Bar(console, changes.settings(parent.settings)) as bar:
        summary = asyncio.run(branch(parent, changes, run, Speed(), bar.tell))
    return tell(run, summary, as_json)


def _table(found: Replay) -> Table:
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("figure")
    for head in ("recorded", "replayed", "difference", "n"):
        shown.add_column(head, justify="right")
    for row in found.rows:
        figures = _mean(row.recorded), _mean(row.replayed), spread(row.difference, sign="+")
        shown.add_row(row.figure, *figures, f"{row.recorded.n:,}")
    shown.add_row("overlap", "–", _mean(found.overlap), "–", f"{found.overlap.n:,}")
    return shown


def _notes(found: Replay) -> list[str]:
    return [
        f"{counted(found.queries, 'query', 'queries')} of {counted(found.episodes, 'episode')}, as they were recorded: "
        "with other posts, the policy might have sent other queries.",
        *(f"{row.figure}: {row.meaning}" for row in found.rows),
        "overlap: share of the recorded posts that are shown again",
        BRACKETS,
    ]


def _mean(figure: Interval) -> str:
    return "–" if figure.mean is None else f"{figure.mean:.3f}"
