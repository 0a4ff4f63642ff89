"""One measurement for `bench retrieval`, in a process of its own: `python -m …retrieval_measure PART ARGUMENT`."""

import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np  # before any clock starts: everything here needs it

from .corpus import make_corpus
from .measurement import resident_bytes

K, ROUNDS = 10, 5
Seconds = dict[str, list[float]]


def tokens(documents: str) -> dict[str, Any]:
    """Every engine that is installed, from ready terms."""
    from .retrieval_engines import installed

    size = int(documents)
    corpus = make_corpus(users=30, documents=size, queries_a_user=15, seed=1)
    engines, absent = installed()
    for engine in engines.values():  # warm up
        engine.search(engine.build(corpus.users[0]), corpus.users[0][0][:3], K)
    builds: Seconds = {name: [] for name in engines}
    indexes: dict[str, list[Any]] = {name: [] for name in engines}
    for user in corpus.users:
        for name, engine in engines.items():
            seconds, index = _timed(partial(engine.build, user))
            builds[name].append(seconds)
            indexes[name].append(index)
    rounds = _rounds(
        {
            name: [partial(engine.search, indexes[name][user], query, K) for user, query in corpus.queries]
            for name, engine in engines.items()
        }
    )
    return {"documents": size, "engines": _figures(builds, rounds), "absent": absent}


def lucene(documents: str) -> dict[str, Any]:
    """The retrievers as they are used, profile and text in, hits out; the JVM disturbs nothing else here."""
    from ..envs.question import Document, Profile
    from ..envs.retrieval.bm25 import BM25
    from ..envs.retrieval.pyserini import Pyserini
    from ..envs.retrieval.retriever import Retriever
    from ..errors import MissingExtra, RetrievalError

    size = int(documents)
    try:
        engines: dict[str, Retriever] = {"profilegym": BM25(), "pyserini": Pyserini(open_indexes=1000)}
    except (MissingExtra, RetrievalError):
        return {"documents": size, "engines": {}, "absent": ["pyserini"]}
    corpus = make_corpus(users=10, documents=size, queries_a_user=100, seed=2)
    texts = [[Document(str(n), " ".join(words)) for n, words in enumerate(user)] for user in corpus.users]
    profiles = [Profile(str(user), tuple(written)) for user, written in enumerate(texts)]
    asked = [(profiles[user], " ".join(words)) for user, words in corpus.queries]
    builds: Seconds = {name: [] for name in engines}
    for profile in profiles:
        for name, engine in engines.items():
            builds[name].append(_timed(partial(engine.search, profile, "w1x", K))[0])
    found = {name: [[hit.document.id for hit in e.search(*one, K)] for one in asked] for name, e in engines.items()}
    rounds = _rounds({name: [partial(e.search, *one, K) for one in asked] for name, e in engines.items()})
    same = np.mean([ours == theirs for ours, theirs in zip(found["profilegym"], found["pyserini"], strict=True)])
    return {"documents": size, "engines": _figures(builds, rounds), "same_top_ten": float(same), "absent": []}


def memory(name: str) -> dict[str, float]:
    """How the process grows with 100 users of 200 documents, whose words exist already."""
    from .retrieval_engines import installed

    engine = installed()[0][name]
    corpus = make_corpus(users=102, documents=200, queries_a_user=0, seed=3)
    kept = [engine.build(user) for user in corpus.users[:2]]
    before = resident_bytes()
    kept += [engine.build(user) for user in corpus.users[2:]]
    return {"bytes_a_document": (resident_bytes() - before) / (200 * 100)}


def cold(name: str) -> dict[str, float]:
    """Import, one profile of 200 documents, one query; ours starts from text, the others from ready terms."""
    corpus = make_corpus(users=1, documents=200, queries_a_user=1, seed=4)
    (user,), ((_, query),) = corpus.users, corpus.queries
    texts, text = [" ".join(words) for words in user], " ".join(query)
    start = time.perf_counter()
    if name == "profilegym":
        from ..envs.question import Document, Profile
        from ..envs.retrieval.bm25 import BM25

        profile = Profile("u", tuple(Document(str(number), one) for number, one in enumerate(texts)))
        BM25().search(profile, text, K)
    else:
        from .retrieval_engines import ENGINES

        engine = ENGINES[name][1]()
        engine.search(engine.build(user), query, K)
    return {"seconds": time.perf_counter() - start}


def _rounds(searches: dict[str, list[Callable[[], object]]]) -> dict[str, list[list[float]]]:
    """All engines in turn, round after round, so that a slow moment of the machine affects all alike."""
    taken: dict[str, list[list[float]]] = {name: [] for name in searches}
    for _ in range(ROUNDS + 1):
        for name, calls in searches.items():
            gc.collect()
            taken[name].append([_timed(call)[0] for call in calls])
    return {name: rounds[1:] for name, rounds in taken.items()}  # the first one warms caches and compilers


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _figures(builds: Seconds, rounds: dict[str, list[list[float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "build_ms": 1e3 * median(builds[name]),
            "p50_us": 1e6 * median(float(np.percentile(seconds, 50)) for seconds in rounds[name]),
            "p99_us": 1e6 * median(float(np.percentile(seconds, 99)) for seconds in rounds[name]),
        }
        for name in builds
    }


if __name__ == "__main__":
    part = {"tokens": tokens, "lucene": lucene, "memory": memory, "cold": cold}[sys.argv[1]]
    sys.stdout.write(json.dumps(part(sys.argv[2])) + "\n")
