"""Writes `docs/results-llm.md`; makes the missing runs with a pretrained model and resumes after an interruption.

python -m profilegym.studies.results_llm --dry-run     # what would run, and how long
python -m profilegym.studies.results_llm               # make results-llm: hours
python -m profilegym.studies.results_llm --page        # only writes the page, from the runs that there are
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import ProfileGymError
from ..evaluation.svg import file_of
from ..training.report.curves import drawn
from . import llm_curves, llm_locomo_tables, llm_tables
from .llm_arms import ARMS, HOURS, TRIALS
from .llm_runs import Bench, make_all
from .page import fill_in, table

PAGE, RUNS = Path("docs/results-llm.md"), Path("runs/results-llm")  # in the working directory
RECORDS = PAGE.with_suffix("")
FILE = Path("data/locomo10.json")


def plan(bench: Bench, only: Sequence[str], jobs: int) -> str:
    """What would run, and how long it takes on so many cores."""
    runs, coming = bench.plan(only), bench.left(only)
    others = [run for run in coming if run not in runs or bench.state(run) == "recorded"]
    rows = [(run.label, bench.state(run), str(run.minutes)) for run in runs if run not in others]
    rows += [(run.label, f"{bench.state(run)}; others begin with it", str(bench.minutes(run))) for run in others]
    everything = sum(run.minutes for run in {*runs, *others}) / 60
    left = sum(map(bench.minutes, coming)) / 60
    told = (
        f"{everything:.1f} hours of a core in all, {left:.1f} of them left: about {left / jobs:.1f} hours with {jobs} "
        f"runs side by side, of {HOURS:g} allowed."
    )
    return f"{table(('run', 'state', 'minutes'), rows)}\n\n{told}"


def runs_made(bench: Bench) -> str:
    """Which runs there are, and the commands of those that are missing."""
    rows = []
    for name, arm in (ARMS | TRIALS).items():
        found = bench.records(name)
        missing = "" if len(found) == arm.repeats else f"`python -m profilegym.studies.results_llm --only {name}`"
        kind = "folds" if "locomo" in name else "seeds"
        days = ", ".join(sorted({record.made for _, record in found}))
        rows.append((f"`{name}`", f"{len(found)} of {arm.repeats} {kind}", days, missing))
    return table(("run", "done", "on", "missing: run"), rows)


def draw(bench: Bench) -> None:
    """The pictures that the page shows."""
    folder = PAGE.with_suffix("")
    for name, panel in llm_curves.panels(bench).items():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.svg").write_text(file_of(drawn(panel)), "utf-8")


SECTIONS = {
    "runs": runs_made,
    "world": llm_tables.world,
    "locomo": llm_locomo_tables.locomo,
    "one seed": llm_tables.one_seed,
    "methods": llm_tables.methods,
    "r2p": llm_tables.r2p,
    "pictures": llm_curves.pictures,
    "curves": llm_tables.curves,
    "before and after": llm_tables.before_after,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.studies.results_llm", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=(*ARMS, *TRIALS), default=[], help="make no other runs")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, a thread each")
    parser.add_argument("--file", type=Path, default=FILE, help="LoCoMo's published JSON")
    parser.add_argument("--runs", type=Path, default=RUNS, help="the folder of the runs")
    parser.add_argument("--records", type=Path, default=RECORDS, help="the folder of what the page says of each run")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="changed in every run that has it")
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and how long")
    parser.add_argument("--page", action="store_true", help="only write the page")
    words = parser.parse_args(arguments)
    failed = list[str]()
    try:
        bench = Bench(words.runs, words.file, words.records, words.set)
        runs = bench.plan(words.only)
        if words.dry_run:
            sys.stdout.write(plan(bench, words.only, words.jobs) + "\n")
            return
        if not words.page:
            failed += make_all(bench, bench.left(words.only), words.jobs)
        for run in runs:
            bench.keep(run)
        draw(bench)
        for name, make in SECTIONS.items():
            fill_in(PAGE, name, partial(make, bench))
        shown = [] if words.page else [run.label for run in runs if bench.show(run)]
        if shown:
            told = f"{', '.join(shown)} before and after training, side by side: profilegym view {words.runs}\n"
            sys.stdout.write(told)
    except ProfileGymError as error:
        sys.exit(f"results-llm: {error}")
    if failed:
        sys.exit("\n".join(["results-llm: the page is written; to go on, run this again:", *failed]))


if __name__ == "__main__":
    main(sys.argv[1:])
