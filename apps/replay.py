"""`profilegym replay`: a run's queries asked elsewhere, or its episodes gone on with from a step."""

import asyncio
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

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


def run_rerun(path: Path, otherwise: Changes, out: Path, as_json: bool = False) -> int:
    """1 where nothing could be scored, 0 otherwise."""
    parent, run, console = RecordedRun(RunDirectory(path)), RunDirectory(out), Console(stderr=as_json)
    with Bar(console, otherwise.settings(parent.settings)) as bar:
        summary = asyncio.run(branch(parent, otherwise, run, Speed(), bar.tell))
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
        f"{found.queries:,} queries of {found.episodes:,} episodes, as they were recorded: "
        "a policy that is shown other posts might ask otherwise.",
        *(f"{row.figure}: {row.meaning}" for row in found.rows),
        "overlap: share of the posts shown then that are shown again",
        BRACKETS,
    ]


def _mean(figure: Interval) -> str:
    return "–" if figure.mean is None else f"{figure.mean:.3f}"
