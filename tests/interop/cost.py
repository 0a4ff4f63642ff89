"""What a step costs in a framework's own loop: the smallest search environment that it allows, beside this package's.

Both sides search the same profile with the same BM25, play the same turns, two searches and the right answer, and
compare the answer as a string; their policies read the same texts. The smallest one has no budget, no checks of what it
shows, and no record.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import profilegym as pg
from profilegym.benchmarks.measurement import no_old_garbage
from profilegym.interop.driver import Driver

DATA = "world:users=20/test"
QUESTIONS = pg.load_questions(DATA)
ASKED = QUESTIONS[0]
ANSWER = "; ".join(aspect.accepted[0] for aspect in ASKED.rubric.aspects)
QUERIES = ("what should I carry back", "a pet")
TURNS = (*(f"<search>{query}</search>" for query in QUERIES), f"<answer>{ANSWER}</answer>")
PROMPT = Driver(DATA).attempt(ASKED.id).prompt
ROUNDS = 15
_RETRIEVER = pg.make_retriever("bm25")


def found(query: str) -> str:
    hits = _RETRIEVER.search(ASKED.profile, query, 3)
    lines = [f"{rank}. [{hit.document.date}] {hit.document.text}" for rank, hit in enumerate(hits, 1)]
    return "\n".join(["<information>", *lines, "</information>"])


def right(answer: str) -> float:
    return float(answer.strip() == ANSWER)


class Exact:
    """The reward of this package's side."""

    runs_inline = True

    def __call__(self, episodes: Sequence[pg.Episode]) -> list[pg.Reward]:
        return [pg.Reward(right(episode.answer or "")) for episode in episodes]


def inside(text: str, tag: str) -> str | None:
    _, opened, rest = text.partition(f"<{tag}>")
    return rest.partition(f"</{tag}>")[0] if opened else None


def compare(name: str, smallest: Callable[[], float], ours: Callable[[], float], calls: int, at_once: int = 1) -> None:
    """Prints a line of JSON: microseconds a step of both, the best of interleaved rounds, and the median of ratios.

    Each function plays `at_once` episodes and gives their mean reward.
    """
    assert smallest() == ours() == 1.0
    pairs = [
        tuple(_seconds(side, calls) / at_once / len(TURNS) * 1e6 for side in (smallest, ours)) for _ in range(ROUNDS)
    ]
    result = {
        "framework": name,
        "smallest": round(min(one for one, _ in pairs), 1),
        "profilegym": round(min(other for _, other in pairs), 1),
        "ratio": round(statistics.median(other / one for one, other in pairs), 3),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def _seconds(play: Callable[[], float], calls: int) -> float:
    """Of one call."""
    with no_old_garbage():
        start = time.perf_counter()
        for _ in range(calls):
            play()
        return (time.perf_counter() - start) / calls
