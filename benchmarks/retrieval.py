"""`profilegym bench retrieval`: BM25 beside other libraries, on the same seeded corpus, in interleaved rounds.

Targets are ratios, as times compare only within one run. What would disturb the others (a JVM, a memory count, a
cold start) runs in a process of its own.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from .measurement import Target, at_least, at_most, show

Figures = dict[str, Any]
SIZES = (50, 200, 1000)


def main(as_json: bool = False) -> None:
    figures = run()
    show(figures, targets(figures), as_json, _report)


def run() -> Figures:
    tokens = [_part("tokens", str(size)) for size in SIZES]
    lucene = [_part("lucene", str(size)) for size in SIZES]
    engines = [name for name in tokens[0]["engines"] if name != "plain numpy"]
    memory = {name: _part("memory", name)["bytes_a_document"] for name in engines}
    cold = {name: min(_part("cold", name)["seconds"] for _ in range(5)) for name in engines}  # other work only adds
    return {
        "absent": sorted({name for part in (*tokens, *lucene) for name in part["absent"]}),
        "tokens": tokens,
        "lucene": lucene,
        "memory_bytes_a_document": memory,
        "cold_start_seconds": cold,
    }


def targets(figures: Figures) -> list[Target]:
    made = [at_most("cold start beyond numpy, seconds", figures["cold_start_seconds"]["profilegym"], 0.050)]
    for part in figures["tokens"]:
        made += _token_claims(part["documents"], part["engines"])
    for part in figures["lucene"]:
        if part["engines"]:
            made += _lucene_claims(part)
    memory = figures["memory_bytes_a_document"]
    if "bm25s" in memory:
        made.append(at_most("memory / bm25s", memory["profilegym"] / memory["bm25s"], 1.0))
    return made


def _token_claims(size: int, engines: Figures) -> list[Target]:
    ours, plain, bm25s = engines["profilegym"], engines["plain numpy"], engines.get("bm25s")
    made = [at_most(f"query / plain numpy, {size} documents", ours["p50_us"] / plain["p50_us"], 1.15)]
    if bm25s:
        made.append(at_most(f"query / bm25s, {size} documents", ours["p50_us"] / bm25s["p50_us"], 1.0))
        made.append(at_most(f"build / bm25s, {size} documents", ours["build_ms"] / bm25s["build_ms"], 0.5))
    return made


def _lucene_claims(part: Figures) -> list[Target]:
    size, ours, lucene = part["documents"], part["engines"]["profilegym"], part["engines"]["pyserini"]
    return [
        at_least(f"top tens equal to Lucene's, {size} documents", part["same_top_ten"], 0.999),
        at_most(f"query from text / pyserini, {size} documents", ours["p50_us"] / lucene["p50_us"], 0.25),
    ]


def _part(*arguments: str) -> Figures:
    command = [sys.executable, "-m", f"{__package__}.retrieval_measure", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _report(result: Figures, console: Console) -> None:
    for title, key in (("From ready terms", "tokens"), ("From text, analysis included", "lucene")):
        console.print(_table(title, result[key]))
    table = Table("engine", "cold start, ms", "memory, bytes a document", title="In a process of its own")
    for name, seconds in result["cold_start_seconds"].items():
        table.add_row(name, f"{1e3 * seconds:.0f}", f"{result['memory_bytes_a_document'][name]:,.0f}")
    console.print(table)
    if result["absent"]:
        console.print(f"not installed: {', '.join(result['absent'])}")


def _table(title: str, parts: list[Figures]) -> Table:
    table = Table("documents", "engine", "build, ms", "query p50, µs", "p99, µs", title=title)
    rounded: Callable[[float], str] = "{:.1f}".format
    for part in parts:
        for name, row in part["engines"].items():
            table.add_row(str(part["documents"]), name, *map(rounded, (row["build_ms"], row["p50_us"], row["p99_us"])))
        table.add_section()
    return table
