"""`python -m profilegym.benchmarks.dense`: dense search beside plain numpy and sentence-transformers."""

import tempfile
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from ..envs.question import Document, Profile
from ..envs.retrieval.dense import Dense, best
from ..envs.retrieval.encoder import Encoder

_SIZES = (50, 200, 1000)
_DIMENSIONS = 384
_K = 10
_WORDS = ("garden", "winter", "history", "science", "green", "tea", "coffee", "book", "the", "and", "of", "she", "late")


def main() -> None:
    console = Console()
    searching = Table("documents", "plain numpy, µs", "ranking here, µs", "ratio", title="One search (medians)")
    for size in _SIZES:
        plain, ours = _search(size)
        searching.add_row(str(size), f"{1e6 * plain:.1f}", f"{1e6 * ours:.1f}", f"{ours / plain:.2f}")
    embedding = Table("what", "value", title="Embedding")
    for what, value in {**_embedding(), **_caches()}.items():
        embedding.add_row(what, value)
    console.print(searching, embedding)


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The median seconds of each, taken in turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for taken, work in zip(seconds, works, strict=True):
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    return [median(taken) for taken in seconds]


def _search(size: int) -> list[float]:
    rng = np.random.default_rng(size)
    vectors = rng.standard_normal((size, _DIMENSIONS), dtype=np.float32)
    query, rows = rng.standard_normal(_DIMENSIONS, dtype=np.float32), np.arange(size)

    def plain() -> object:
        scores = vectors @ query
        top = np.argpartition(scores, size - _K)[size - _K :]
        return top[np.argsort(-scores[top])]

    return interleaved(2000, plain, lambda: best((vectors @ query)[rows], _K))


def _embedding() -> dict[str, str]:
    texts = [document.text for document in _profile(64).documents]
    exact, rough = Encoder(), Encoder(bf16=True)
    model = exact._model

    def library() -> object:
        return model.encode(texts, show_progress_bar=False)

    seconds = interleaved(3, library, lambda: exact.documents(texts), lambda: rough.documents(texts))
    rates = [f"{len(texts) / taken:.0f} documents/s" for taken in seconds]
    similar = float((exact.documents(texts) * rough.documents(texts)).sum(axis=1).min())
    names = ("sentence-transformers", "here", f"here, bf16 (least cosine to float32 {similar:.5f})")
    return dict(zip(names, rates, strict=True))


def _caches() -> dict[str, str]:
    profile = _profile(100)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Dense(cache=folder), Dense(cache=folder)
        for dense in (first, second):
            dense.search(_profile(1), "tea", 1)  # warm up
        (embedded,) = interleaved(1, lambda: first.search(profile, "tea", _K))
        (opened,) = interleaved(1, lambda: second.search(profile, "tea", _K))
        (repeated,) = interleaved(2000, lambda: first._query_vectors(["tea"]))
    return {
        "a profile of 100 documents embedded": f"{embedded:.2f} s",
        "the same, opened from the cache": f"{1e3 * opened:.1f} ms, {embedded / opened:,.0f} times quicker",
        "a query's vector, asked again": f"{1e6 * repeated:.1f} µs",
    }


def _profile(size: int) -> Profile:
    """30 to 150 words a document."""
    rng = np.random.default_rng(size)
    texts = (" ".join(rng.choice(_WORDS, int(rng.integers(30, 151)))) for _ in range(size))
    return Profile(f"writer of {size}", tuple(Document(f"{place:04}", text) for place, text in enumerate(texts)))


if __name__ == "__main__":
    main()
