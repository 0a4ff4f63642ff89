"""Writes `docs/results.md` from runs that it plays where they are missing; killed and run again, it goes on.

python -m profilegym.benchmarks.results agents      # every agent with the pilot, beside its controls
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from ..evaluation.evaluate import Settings, Speed, evaluate
from ..evaluation.run import RunDirectory

PAGE, RUNS = Path("docs/results.md"), Path("runs/results")  # of the checkout that it is run in
SEEDS = 3
START = Settings(data="world:seed=7/test", judge="rubric", limit=300, seeds=SEEDS)
AGENTS = ("none", "rag", "rag-random", "recency", "plan", "pr2")
FIGURES = ("score", "score, 0 hops", "1 hop", "2 hops", "gain", "searches", "evidence", "structure")


def agents() -> str:
    """A row an agent, and one of what can be had."""
    rows = [(agent, replace(START, agent=agent)) for agent in AGENTS]
    rows.append(("pr2 with scripted:oracle", replace(START, model="scripted:oracle", seeds=1)))
    played = [(name, _summary(name.replace(" ", "-").replace(":", "-"), settings)) for name, settings in rows]
    return _table(("agent", *FIGURES), [(name, *_cells(summary)) for name, summary in played])


def _summary(name: str, settings: Settings) -> Mapping[str, Any]:
    run = RunDirectory(RUNS / name)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name)
        asyncio.run(
            evaluate(settings, run, Speed(), lambda done, count, _: progress.update(task, total=count, completed=done))
        )
    found: dict[str, Any] = json.loads((run.path / "summary.json").read_text())
    return found


def _cells(summary: Mapping[str, Any]) -> Iterator[str]:
    hops = summary["by_hops"]
    yield _figure(summary["score"])
    yield from (_figure(hops[count]["score"]) for count in ("0", "1", "2"))
    yield from (_figure(summary.get(name)) for name in ("gain", "searches", "evidence", "structure"))


def _figure(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "–"
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


SECTIONS = {"agents": agents}


def main(names: Sequence[str]) -> None:
    text = PAGE.read_text("utf-8")
    for name in names:
        if name not in SECTIONS:
            sys.exit(f"no section {name!r}; known: {', '.join(SECTIONS)}")
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not marks.search(text):
            sys.exit(f"{PAGE} has no place for {name!r}")
        table = SECTIONS[name]()
        text = marks.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)  # type: ignore[misc]
        PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
