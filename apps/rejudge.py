"""`profilegym rejudge`: asks a judge about a run's answers, and shows how the run stands."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .._util.terminal import printable
from ..evaluation.evaluate import Settings, sum_up
from ..evaluation.intervals import BRACKETS, reach, spread
from ..evaluation.judge_audit.agreement import Agreement
from ..evaluation.judge_audit.findings import percent
from ..evaluation.judge_scores import JudgeScores, judge_scores
from ..evaluation.late_verdicts import FILE
from ..evaluation.rejudge import Outcome, rejudge
from ..evaluation.report import write_report
from ..evaluation.run import RunDirectory
from .options import is_quiet

INTERRUPTED = 130  # what shells expect


def run_rejudge(path: Path, judge: str | None, everything: bool, as_json: bool = False) -> int:
    """0 where every answer has a verdict now, 1 where some could not be scored, 130 where it was interrupted."""
    run, errors = RunDirectory(path), Console(stderr=True)
    try:
        with bar(errors, f"judging {path}") as progress:
            outcome = asyncio.run(rejudge(run, judge, everything=everything, progress=progress.tell))
    except KeyboardInterrupt:
        errors.print(f"stopped; what was judged is in {path / FILE}: the same command goes on from there", style="bold")
        return INTERRUPTED
    if outcome.healed:
        _count_in(run)
    stands = judge_scores(run)
    if as_json:
        Console().print_json(data={**asdict(outcome), **asdict(stands)}, ensure_ascii=False)
    else:
        report(outcome, stands)
    return int(bool(outcome.reasons))


def _count_in(run: RunDirectory) -> None:
    """An evaluation's summary and report count what was healed; those of a training run are of its training."""
    if run.settings.keys() <= {one.name for one in fields(Settings)} and (run.path / "summary.json").exists():
        sum_up(run)
        write_report(run)


class Bar(Progress):
    """How much is judged, of how much; nothing where nobody watches."""

    def tell(self, done: int, count: int) -> None:
        self.update(self.task_ids[0], completed=done, total=count)


def bar(console: Console, name: str) -> Bar:
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    progress = Bar(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal)
    progress.add_task(printable(name), total=None)
    return progress


def report(outcome: Outcome, stands: JudgeScores) -> None:
    console = Console(highlight=False, markup=False)
    for line in done(outcome, stands):
        console.print(printable(line), soft_wrap=True)
    console.print(table(stands))
    for judge, found in stands.beside.items():
        console.print(printable(f"{judge} beside the run's own verdicts: {in_words(found)}"), soft_wrap=True)


def done(outcome: Outcome, stands: JudgeScores) -> Iterator[str]:
    """What was done, and what could not be."""
    whose = "the run's own judge" if outcome.own else "not the run's own judge"
    healed = f", {outcome.healed} of them without a verdict before" if outcome.healed else ""
    yield f"{outcome.judge}, {whose}: {outcome.scored} answers scored{healed}; {outcome.known} had been before"
    for reason, count in outcome.reasons.most_common():
        yield f"  {count} unscored: {reason}"
    if outcome.without_answer:
        yield f"  {outcome.without_answer} ended in an error before there was an answer: nothing to judge"
    if stands.bad_lines:
        yield f"  {stands.bad_lines} lines of the run are no trajectories and were passed over"


def table(stands: JudgeScores) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=BRACKETS, caption_justify="left")
    for heading in ("judge", "episodes"):
        found.add_column(heading)
    for heading in ("mean score", "scored", "unscored"):
        found.add_column(heading, justify="right")
    for mean in stands.means:
        name = f"{mean.judge}, beside" if mean.later else mean.judge
        found.add_row(printable(name), mean.kind, spread(mean.score), f"{mean.score.n:,}", f"{mean.unscored:,}")
    return found


def in_words(found: Agreement) -> str:
    same = f"{percent(found.same)} {reach(found.same, 0, 100)} of {found.same.n:,} aspects alike"
    return f"{same}, kappa {spread(found.kappa, 2)}, its scores {spread(found.shift)} apart"
