"""`profilegym rejudge`: scores the answers of a run again, and prints the scores of all judges."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .._util.terminal import printable
from ..evaluation.evaluate import sum_up
from ..evaluation.intervals import BRACKETS, reach, spread
from ..evaluation.judge_audit.agreement import Agreement
from ..evaluation.judge_audit.findings import percent
from ..evaluation.judge_scores import JudgeScores, judge_scores
from ..evaluation.judging import Judging, judge_all
from ..evaluation.late_verdicts import FILE
from ..evaluation.rejudge import Outcome, chosen_judge, rejudge
from ..evaluation.report import write_report
from ..evaluation.run import RunDirectory
from .options import is_quiet

INTERRUPTED = 130  # exit code of an interrupted command


def run_rejudge(path: Path, judge: str | None, everything: bool, as_json: bool = False, on: str | None = None) -> int:
    """Returns 0 if every answer has a verdict, 1 if some could not be scored, 130 if interrupted."""
    run, errors = RunDirectory(path), Console(stderr=True)
    try:
        with bar(errors, f"judging {path}") as progress:
            judging = judge_all if on is None else judging_on(on, judge or chosen_judge(run))
            work = rejudge(run, judge, everything=everything, progress=progress.tell, judging=judging)
            outcome = asyncio.run(work)
    except KeyboardInterrupt:
        errors.print(f"stopped; what was judged is in {path / FILE}: the same command goes on from there", style="bold")
        return INTERRUPTED
    if outcome.own:  # also of a command before, which was interrupted
        _update_summary(run)
    scores = judge_scores(run)
    if as_json:
        Console().print_json(data={**asdict(outcome), **asdict(scores)}, ensure_ascii=False)
    else:
        report(outcome, scores)
    return int(bool(outcome.reasons))


def judging_on(on: str, judge: str) -> Judging:
    from ..fleet import judging  # only where it is asked for

    return judging.judging_on(on, judge)


def _update_summary(run: RunDirectory) -> None:
    """Update summary and report of an evaluation; those of a training run, with data sets by split, are about it."""
    if isinstance(run.settings.get("data"), str) and (run.path / "summary.json").exists():
        sum_up(run)
        write_report(run)


class Bar(Progress):
    """Progress of judging; hidden if the output is not a terminal."""

    def tell(self, done: int, count: int) -> None:
        self.update(self.task_ids[0], completed=done, total=count)


def bar(console: Console, name: str) -> Bar:
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    progress = Bar(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal)
    progress.add_task(printable(name), total=None)
    return progress


def report(outcome: Outcome, scores: JudgeScores) -> None:
    console = Console(highlight=False, markup=False)
    for line in done(outcome, scores):
        console.print(printable(line), soft_wrap=True)
    console.print(table(scores))
    for judge, found in scores.beside.items():
        console.print(printable(f"{judge} beside the run's own verdicts: {in_words(found)}"), soft_wrap=True)


def done(outcome: Outcome, scores: JudgeScores) -> Iterator[str]:
    """What was scored, and what was not."""
    whose = "the run's own judge" if outcome.own else "not the run's own judge"
    healed = f", {outcome.healed} of them without a verdict before" if outcome.healed else ""
    yield f"{outcome.judge}, {whose}: {outcome.scored} answers scored{healed}; {outcome.known} had been before"
    for reason, count in outcome.reasons.most_common():
        yield f"  {count} unscored: {reason}"
    if outcome.without_answer:
        yield f"  {outcome.without_answer} ended in an error before there was an answer: nothing to judge"
    if scores.bad_lines:
        yield f"  {scores.bad_lines} lines of the run are no trajectories and were passed over"


def table(scores: JudgeScores) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=BRACKETS, caption_justify="left")
    for heading in ("judge", "episodes"):
        found.add_column(heading)
    for heading in ("mean score", "scored", "unscored"):
        found.add_column(heading, justify="right")
    for mean in scores.means:
        name = f"{mean.judge}, beside" if mean.later else mean.judge
        found.add_row(printable(name), mean.kind, spread(mean.score), f"{mean.score.n:,}", f"{mean.unscored:,}")
    return found


def in_words(found: Agreement) -> str:
    same = f"{percent(found.same)} {reach(found.same, 0, 100)} of {found.same.n:,} aspects alike"
    return f"{same}, kappa {spread(found.kappa, 2)}, its scores {spread(found.shift)} apart"
