"""Writes `docs/results.md`; makes the missing runs and resumes after an interruption.

python -m profilegym.studies.results             # all of it: hours
python -m profilegym.studies.results agents      # every agent with the pilot, beside its controls
python -m profilegym.studies.results training --only pr2-world --seeds 1     # one run, beside the existing ones
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ProfileGymError
from ..evaluation.evaluate import Settings
from ..evaluation.intervals import Interval
from .arms import ARMS, MAIN, Bench, play
from .page import UNKNOWN, figure, fill_in, table
from .paper import Paper

PAGE, RUNS = Path("docs/results.md"), Path("runs/results")  # in the working directory
SEEDS = 3
START = Settings(data="world:seed=7/test", judge="rubric", limit=300, seeds=SEEDS)
AGENTS = ("none", "rag", "rag-random", "recency", "plan", "pr2")
FIGURES = ("score", "score, 0 hops", "1 hop", "2 hops", "gain", "searches", "evidence", "structure")


@dataclass(frozen=True)
class Asked:
    """The training runs to make, and changes of their recipes."""

    arms: Sequence[str] = tuple(ARMS)
    seeds: int = SEEDS
    changes: Sequence[str] = ()


def agents(_: Asked) -> str:
    """A row for each agent, and one for the oracle."""
    rows = [(agent, replace(START, agent=agent)) for agent in AGENTS]
    rows.append(("pr2 with scripted:oracle", replace(START, model="scripted:oracle", seeds=1)))
    played = [(name, play(name, settings, RUNS / re.sub("[ :]", "-", name))) for name, settings in rows]
    return table(("agent", *FIGURES), [(name, *_cells(summary)) for name, summary in played])


def training(asked: Asked) -> str:
    """Train seed by seed, so that every recipe has a run early."""
    bench = Bench(RUNS / "training", asked.changes)
    for seed in range(asked.seeds):
        for arm in asked.arms:
            bench.make(arm, seed)
            if arm == MAIN:
                bench.play_further(seed)
    return Paper(bench).write()


def _cells(summary: Mapping[str, Any]) -> Iterator[str]:
    hops = summary["by_hops"]
    yield _figure(summary["score"])
    yield from (_figure(hops[count]["score"]) for count in ("0", "1", "2"))
    yield from (_figure(summary.get(name)) for name in ("gain", "searches", "evidence", "structure"))


def _figure(found: Mapping[str, Any] | None) -> str:
    return UNKNOWN if found is None else figure(Interval(**found))


SECTIONS: dict[str, Callable[[Asked], str]] = {"agents": agents, "training": training}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.studies.results", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all, unless named")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS), help="train no other recipes")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="0, 1 … up to so many; 0 trains nothing")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="changed in every recipe")
    words = parser.parse_args(arguments)
    if unknown := set(words.sections) - set(SECTIONS):
        sys.exit(f"no section {unknown.pop()!r}; known: {', '.join(SECTIONS)}")
    asked = Asked(words.only, words.seeds, words.set)
    for name in words.sections or SECTIONS:
        try:
            fill_in(PAGE, name, partial(SECTIONS[name], asked))
        except ProfileGymError as error:
            sys.exit(f"results: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
