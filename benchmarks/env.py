"""`profilegym bench env`: environment steps per second beside other libraries, in interleaved rounds.

verifiers is a thousand times slower and is measured apart: a few batches of 1 and 64 episodes.
"""

import statistics
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from ..envs.episode import Episode
from ..envs.question import Document, Profile, Question
from ..envs.retrieval import make_retriever
from ..envs.reward import Reward
from .corpus import make_corpus
from .env_systems import STEPS, SYSTEMS, Batch
from .measurement import Target, at_least, no_old_garbage, show

SIZES = (1, 64, 1024)
ROUNDS, SECONDS = 7, 0.15  # of each system at each size
VERIFIERS_SIZES, VERIFIERS_WARM_UPS, VERIFIERS_ROUNDS = (1, 64), 2, 3

Rates = dict[str, dict[int, float]]  # system -> episodes at once -> steps a second


def steps_a_second() -> tuple[Rates, dict[str, str]]:
    """The best of interleaved rounds, as other programs only slow one down; and why a system is absent."""
    rates: Rates = {}
    for n in SIZES:
        batches, absent = ready(n)
        samples: dict[str, list[float]] = {name: [] for name in batches}
        for _ in range(ROUNDS):
            for name, batch in batches.items():
                samples[name].append(_rate(batch) * n * STEPS)
        for name, values in samples.items():
            rates.setdefault(name, {})[n] = max(values)
    try:
        rates["verifiers"] = of_verifiers()
    except ImportError as error:
        absent["verifiers"] = f"not installed ({error})"
    except Exception as error:  # it needs more than an import: a process, servers, files
        absent["verifiers"] = f"does not run here ({type(error).__name__}: {error})"
    return rates, absent


def ready(n: int) -> tuple[dict[str, Batch], dict[str, str]]:
    """A batch of every installed system, run once to warm up; and why the others are absent."""
    batches: dict[str, Batch] = {}
    absent: dict[str, str] = {}
    for name, system in SYSTEMS.items():
        try:
            batch = system(n)
            batch()
            batches[name] = batch
        except ImportError as error:
            absent[name] = f"not installed ({error})"
    return batches, absent


def of_verifiers() -> dict[int, float]:
    from .env_verifiers import running

    rates = {}
    for n in VERIFIERS_SIZES:
        with running(n) as batch:
            for _ in range(VERIFIERS_WARM_UPS):  # opens connections
                batch()
            rates[n] = max(_rate(batch) * n * STEPS for _ in range(VERIFIERS_ROUNDS))
    return rates


def with_bm25(users: int = 20, size: int = 200, rounds: int = 21) -> dict[str, float]:
    """Whole episodes of two searches and an answer over real profiles, beside the same searches alone."""
    corpus = make_corpus(users, size, 10)
    questions = []
    for user, texts in enumerate(corpus.users):
        documents = tuple(Document(f"d{i}", " ".join(words)) for i, words in enumerate(texts))
        questions.append(Question(f"q{user}", f"u{user}", "?", Profile(f"u{user}", documents)))
    queries: dict[int, list[str]] = {user: [] for user in range(users)}
    for user, words in corpus.queries:
        queries[user].append(" ".join(words))
    asked = [(questions[user], pair) for user, its in queries.items() for pair in zip(its[::2], its[1::2], strict=True)]
    retriever = make_retriever("bm25")
    fetch_k = Episode(questions[0]).fetch_k

    def alone() -> None:
        for question, pair in asked:
            for query in pair:
                retriever.search(question.profile, query, fetch_k)

    def episodes() -> None:
        for question, pair in asked:
            episode = Episode(question)
            for query in pair:
                episode.write(f"<search>{query}</search>")
                episode.add_hits(retriever.search(question.profile, episode.query, fetch_k))
            episode.write("<answer>blue</answer>")
            episode.score(Reward(1.0))
            episode.trajectory()

    alone()
    pairs = [(_rate(alone), _rate(episodes)) for _ in range(rounds)]
    searches = 2 * len(asked)
    return {
        "searches_a_second": searches * max(alone for alone, _ in pairs),
        "search_steps_a_second": searches * max(steps for _, steps in pairs),
        "share": statistics.median(steps / alone for alone, steps in pairs),
    }


def _rate(batch: Batch) -> float:
    """Batches per second."""
    with no_old_garbage():
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < SECONDS:
            batch()
            count += 1
    return count / elapsed


def targets(rates: Rates, bm25: dict[str, float]) -> list[Target]:
    episodes, vectors = rates["profilegym Episode"], rates["profilegym vector"]
    made = [at_least(f"episode steps/s at {n}", episodes[n], 220_000) for n in SIZES]
    made += [at_least(f"vector steps/s at {n}", vectors[n], 200_000) for n in (64, 1024)]
    made.append(at_least("episodes at 1,024 over at 1", episodes[1024] / episodes[1], 0.8))
    one, four = rates["profilegym Episode, one tool"], rates["profilegym Episode, four tools"]
    made += [at_least(f"four tools over one at {n}", four[n] / one[n], 0.85) for n in (64, 1024)]
    made.append(at_least("search steps with bm25 over bare searches", bm25["share"], 0.7))
    for peer, ours in (("gem", episodes), ("skyrl-gym", episodes), ("gem vector", vectors)):
        if peer in rates:
            made += [at_least(f"over {peer} at {n}", ours[n] / rates[peer][n], 1.0) for n in (64, 1024)]
    if "verifiers" in rates:
        made.append(at_least("over verifiers at 64", episodes[64] / rates["verifiers"][64], 50))
    return made


def main(as_json: bool) -> None:
    rates, absent = steps_a_second()
    bm25 = with_bm25()
    result = {"steps_a_second": rates, "absent": absent, "bm25": bm25}
    show(result, targets(rates, bm25), as_json, _report)


def _report(result: dict[str, Any], console: Console) -> None:
    limit = result["steps_a_second"]["plain generator (the limit)"]
    table = Table(title="Steps a second with a dictionary retriever (and the share of the limit)")
    table.add_column("")
    for n in SIZES:
        table.add_column(f"{n:,} episodes", justify="right")
    for name, rates in result["steps_a_second"].items():
        table.add_row(name, *(f"{rates[n]:,.0f} ({rates[n] / limit[n]:.2f})" if n in rates else "–" for n in SIZES))
    console.print(table)
    for name, why in result["absent"].items():
        console.print(f"{name}: {why}", style="dim")
    bm25 = result["bm25"]
    console.print(
        f"bm25 over 200 documents: {bm25['search_steps_a_second']:,.0f} search steps/s, "
        f"{bm25['share']:.0%} of the {bm25['searches_a_second']:,.0f} searches/s alone"
    )
