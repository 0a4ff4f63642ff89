"""`profilegym bench retrieval`: exact BM25 beside its peers, on the same seeded work, in interleaved rounds.

Times compare only within one run; that is why the claims are ratios. Whatever would disturb the others (a JVM, a
memory count, a cold start) runs in a process of its own.
"""

import json as json_module
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from .claims import Claim, at_least, at_most, show_claims

Figures = dict[str, Any]
SIZES = (50, 200, 1000)


def main(json: bool = False) -> None:
    result = run()
    if json:
        sys.stdout.write(json_module.dumps(result, indent=2, default=Claim.as_json) + "\n")
    else:
        _show(result, Console())


def run() -> Figures:
    """All figures, and the claims that could be checked with the peers that are installed."""
    tokens = [_part("tokens", str(size)) for size in SIZES]
    lucene = [_part("lucene", str(size)) for size in SIZES]
    engines = [name for name in tokens[0]["engines"] if name != "plain numpy"]
    memory = {name: _part("memory", name)["bytes_a_document"] for name in engines}
    cold = {name: min(_part("cold", name)["seconds"] for _ in range(5)) for name in engines}  # other work only adds
    figures = {
        "absent": sorted({name for part in (*tokens, *lucene) for name in part["absent"]}),
        "tokens": tokens,
        "lucene": lucene,
        "memory_bytes_a_document": memory,
        "cold_start_seconds": cold,
    }
    return figures | {"claims": claims(figures)}


def claims(figures: Figures) -> list[Claim]:
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


def _token_claims(size: int, engines: Figures) -> list[Claim]:
    ours, plain, bm25s = engines["profilegym"], engines["plain numpy"], engines.get("bm25s")
    made = [at_most(f"query / plain numpy, {size} documents", ours["p50_us"] / plain["p50_us"], 1.15)]
    if bm25s:
        made.append(at_most(f"query / bm25s, {size} documents", ours["p50_us"] / bm25s["p50_us"], 1.0))
        made.append(at_most(f"build / bm25s, {size} documents", ours["build_ms"] / bm25s["build_ms"], 0.5))
    return made


def _lucene_claims(part: Figures) -> list[Claim]:
    size, ours, lucene = part["documents"], part["engines"]["profilegym"], part["engines"]["pyserini"]
    return [
        at_least(f"top tens equal to Lucene's, {size} documents", part["same_top_ten"], 0.999),
        at_most(f"query from text / pyserini, {size} documents", ours["p50_us"] / lucene["p50_us"], 0.25),
    ]


def _part(*arguments: str) -> Figures:
    command = [sys.executable, "-m", f"{__package__}.retrieval_parts", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: Figures = json_module.loads(done.stdout.splitlines()[-1])
    return figures


def _show(result: Figures, console: Console) -> None:
    for title, key in (("From ready terms", "tokens"), ("From text, analysis included", "lucene")):
        console.print(_table(title, result[key]))
    table = Table("engine", "cold start, ms", "memory, bytes a document", title="In a process of its own")
    for name, seconds in result["cold_start_seconds"].items():
        table.add_row(name, f"{1e3 * seconds:.0f}", f"{result['memory_bytes_a_document'][name]:,.0f}")
    console.print(table)
    show_claims(result["claims"], console)
    if result["absent"]:
        console.print(f"not installed: {', '.join(result['absent'])}")


def _table(title: str, parts: list[Figures]) -> Table:
    table = Table("documents", "engine", "build, ms", "query p50, µs", "p99, µs", title=title)
    show: Callable[[float], str] = "{:.1f}".format
    for part in parts:
        for name, row in part["engines"].items():
            table.add_row(str(part["documents"]), name, *map(show, (row["build_ms"], row["p50_us"], row["p99_us"])))
        table.add_section()
    return table


if __name__ == "__main__":
    main(json="--json" in sys.argv)
