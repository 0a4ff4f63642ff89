"""What the conformance kit looks at: searches, compared with what was promised."""

import math
import threading
from collections.abc import Callable, Iterator
from numbers import Real
from typing import TypeVar

from ..envs.question import Document, Profile
from ..envs.retrieval.retriever import Hit, Retriever
from ..errors import RetrievalError
from .retriever_fixtures import namesake, queries

K = 5
THREADS = 8
_PATIENCE = 60.0  # seconds until threads count as stuck
_TOLERANCE = 1e-5  # a model's scores may depend that much on what else is in the batch
T = TypeVar("T")


class ContractViolation(RetrievalError):
    """A promise that was not kept; the message is the counter-example."""


def ask(retriever: Retriever, profile: Profile, query: str, k: int = K) -> list[Hit]:
    """One search, whose every failure is a counter-example."""
    try:
        hits = retriever.search(profile, query, k)
    except Exception as error:
        raise ContractViolation(f"{call(profile, query, k)} raised {_what(error)}") from error
    return _well_shaped(call(profile, query, k), hits)


def ask_many(retriever: Retriever, requests: list[tuple[Profile, str]]) -> list[list[Hit]]:
    this = f"search_many of {len(requests)} requests"
    try:
        batch = list(retriever.search_many(requests, K))
    except Exception as error:
        raise ContractViolation(f"{this} raised {_what(error)}") from error
    if len(batch) != len(requests):
        raise ContractViolation(f"{this} returned {len(batch)} lists")
    return [_well_shaped(f"{this}, entry {place},", hits) for place, hits in enumerate(batch)]


def searches(retriever: Retriever, profile: Profile) -> Iterator[tuple[str, list[Hit]]]:
    for query in queries(profile):
        yield call(profile, query), ask(retriever, profile, query)


def steady(retriever: Retriever, profile: Profile, query: str) -> bool:
    """Whether a search works and repeats itself; where it does not, that is another check's finding."""
    try:
        return _equal(ask(retriever, profile, query), ask(retriever, profile, query))
    except ContractViolation:
        return False


def owned(profile: Profile, query: str, hits: list[Hit]) -> None:
    for hit in hits:
        if hit.document not in profile.documents:
            raise ContractViolation(
                f"{call(profile, query)} returned {show(hit)}, which {profile.user_id!r} never wrote"
            )


def nothing_found(retriever: Retriever, profile: Profile, query: str) -> None:
    if hits := ask(retriever, profile, query):
        raise ContractViolation(f"{call(profile, query)} returned {len(hits)} hits, first {show(hits[0])}")


def as_good_as_new(retriever: Retriever, profile: Profile) -> None:
    """A stale index gives itself away: the same texts are found under a new name, and not here."""
    missed = _missed(retriever, profile)
    if missed and not _missed(retriever, namesake(profile, f"{profile.user_id}-new")):
        raise ContractViolation(
            f"{call(profile, missed.text)} does not find the document with that text first, though it does "
            "for a new user who wrote the same: the answer comes from an index of other documents"
        )


def same(request: tuple[Profile, str], one: str, hits: list[Hit], other: str, others: list[Hit]) -> None:
    """Equal scores, and equal order save among scores too close to tell."""
    if not _equal(hits, others):
        raise ContractViolation(f"{call(*request)}: {one} {_shown(hits)}; {other} {_shown(others)}")


def at_once(work: Callable[[int], T]) -> list[T]:
    """What each of several threads gets for its number, all let go at the same moment."""
    results: dict[int, T] = {}
    failures: list[Exception] = []
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    if failures:
        raise failures[0]
    if len(results) < THREADS:
        raise ContractViolation(
            f"{THREADS - len(results)} of {THREADS} threads were still searching after {_PATIENCE:.0f} s"
        )
    return [results[number] for number in range(THREADS)]


def call(profile: Profile, query: str, k: int = K) -> str:
    return f"search({profile.user_id!r} with {len(profile)} documents, {_short(repr(query))}, k={k})"


def show(hit: Hit) -> str:
    return f"{hit.document.id} {_short(repr(hit.document.text))} ({hit.score!r})"


def _missed(retriever: Retriever, profile: Profile) -> Document | None:
    """The first document that is not the first hit for its own text."""
    for document in profile.documents[:K]:
        if [hit.document for hit in ask(retriever, profile, document.text, 1)] != [document]:
            return document
    return None


def _well_shaped(this: str, hits: object) -> list[Hit]:
    """Also plain `(document, score)` pairs count as hits."""
    if not isinstance(hits, list):
        raise ContractViolation(f"{this} returned {_short(repr(hits))}, which is no list of Hit(document, score)")
    for hit in hits:
        if not (isinstance(hit, tuple) and len(hit) == 2 and isinstance(hit[0], Document) and isinstance(hit[1], Real)):
            raise ContractViolation(
                f"{this} returned {_short(repr(hit))} among its hits, which is no Hit(document, score)"
            )
    return [Hit(*hit) for hit in hits]


def _equal(hits: list[Hit], others: list[Hit]) -> bool:
    if len(hits) != len(others):
        return False
    scores, other_scores = dict(hits), dict(others)
    shared = scores.keys() & other_scores.keys()
    last_places = {scores[d] for d in scores.keys() - shared} | {other_scores[d] for d in other_scores.keys() - shared}
    return (
        all(_close(hit.score, other.score) for hit, other in zip(hits, others, strict=True))
        and all(_close(scores[document], other_scores[document]) for document in shared)
        and all(_close(score, hits[-1].score) for score in last_places)
    )


def _close(one: float, other: float) -> bool:
    both_nan = math.isnan(one) and math.isnan(other)  # another check's finding
    return both_nan or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _shown(hits: list[Hit]) -> str:
    return "[" + ", ".join(f"{hit.document.id} {hit.score!r}" for hit in hits) + "]"


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {_short(ascii(str(error))[1:-1], 200)}"


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
