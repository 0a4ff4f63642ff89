"""`python -m profilegym.benchmarks.store SPEC STORE`: BM25 from an index on disk beside one in memory."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from ..envs.data import load_questions
from ..envs.question import Question
from ..envs.retrieval.analyzer import analyze
from ..envs.retrieval.bm25 import BM25
from ..envs.retrieval.sharded_store import open_store
from ..errors import DataError

USERS, ROUNDS, K = 1000, 5, 10


def main(spec: str, store: str) -> None:
    questions = load_questions(spec)
    some = [questions[position] for position in range(0, len(questions), max(len(questions) // USERS, 1))]
    known = open_store(Path(store))
    for question in some:  # what both need is paid before
        analyze(question.text)
        if known.find(question.profile) is None:
            raise DataError(f"user {question.user_id} is not in {store}: index {spec} anew")
    start = time.perf_counter()
    stored = BM25(store=store)
    opened, memory = time.perf_counter() - start, BM25()
    first = {"store": _p50(stored, some), "memory": _p50(memory, some)}  # each profile for the first time
    rounds = [(_p50(memory, some), _p50(stored, some)) for _ in range(ROUNDS)]
    size = sum(path.stat().st_size for path in _files(Path(store)))
    Console().print(
        f"{size / 1e6:,.0f} MB, opened in {1e3 * opened:.2f} ms; a query takes (p50 over {len(some)} users, µs)\n"
        f"  in memory {median(ours for ours, _ in rounds):.0f}, first use of a profile {first['memory']:.0f}\n"
        f"  from the store {median(theirs for _, theirs in rounds):.0f}, first use of a profile {first['store']:.0f}"
    )


def _files(store: Path) -> list[Path]:
    return [store] if store.is_file() else list(store.glob("*.bm25"))


def _p50(retriever: BM25, questions: Sequence[Question]) -> float:
    seconds = []
    for question in questions:
        start = time.perf_counter()
        retriever.search(question.profile, question.text, K)
        seconds.append(time.perf_counter() - start)
    return 1e6 * median(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
