"""What every retriever promises, as checks that look for a counter-example.

Each check has people of its own, so that a retriever with one fault fails one check.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from ..envs.question import Profile
from ..envs.retrieval.retriever import Hit, Retriever
from .retriever_assertions import (
    THREADS,
    ContractViolation,
    K,
    as_good_as_new,
    ask,
    ask_many,
    at_once,
    call,
    nothing_found,
    owned,
    same,
    searches,
    show,
    steady,
)
from .retriever_fixtures import STRANGE_QUERIES, oddity, person, queries, repeated

Search = Callable[[Any], None]  # of what is examined: here a retriever, in `rewards` a reward


@dataclass(frozen=True, slots=True)
class Check:
    """A promise in plain words, how to keep it, and a search for a counter-example, which raises `Broken`."""

    name: str
    promise: str
    fix: str
    run: Search


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check ended: the counter-example, or none."""

    check: Check
    counterexample: str | None
    seconds: float

    @property
    def passed(self) -> bool:
        return self.counterexample is None


CHECKS: list[Check] = []


def examine(examined: Any, checks: Sequence[Check] = CHECKS) -> Iterator[CheckResult]:
    """Runs every check, whatever the others found."""
    for check in checks:
        started = time.perf_counter()
        try:
            check.run(examined)
            counterexample = None
        except ContractViolation as broken:
            counterexample = str(broken)
        yield CheckResult(check, counterexample, time.perf_counter() - started)


def _check(name: str, promise: str, fix: str) -> Callable[[Search], Search]:
    def add(run: Search) -> Search:
        CHECKS.append(Check(name, promise, fix, run))
        return run

    return add


@_check(
    "own documents",
    "Every hit is a document of the asker, even where another user has the same ids or texts.",
    "Keep what you compute for a profile under profile.digest, never under document ids or texts.",
)
def _own_documents(retriever: Retriever) -> None:
    ann = person("own-ann")
    same_ids = person("own-bo", ids="own-ann")
    same_texts = Profile("own-cy", tuple(replace(document, date="2001-02-03") for document in ann.documents))
    for profile in (ann, same_ids, same_texts, ann):
        for query in [*queries(ann), *queries(same_ids)]:
            owned(profile, query, ask(retriever, profile, query))
    as_good_as_new(retriever, same_ids)


@_check(
    "changed profile",
    "When a user's documents change, the next search sees the new ones and no old one.",
    "Keep what you compute under profile.digest: it changes with the documents; profile.user_id does not.",
)
def _changed_profile(retriever: Retriever) -> None:
    before, after = person("changing"), replace(person("changed"), user_id="changing")
    for profile in (before, after, before):
        for query in [*queries(before), *queries(after)]:
            owned(profile, query, ask(retriever, profile, query))
    as_good_as_new(retriever, after)


@_check(
    "finds something",
    "A query copied from a document finds at least one document.",
    "Check that the query reaches your index, and in the form in which documents do.",
)
def _finds_something(retriever: Retriever) -> None:
    profile = person("finds")
    for document in profile.documents[:K]:
        if not ask(retriever, profile, document.text):
            raise ContractViolation(f"{call(profile, document.text)} found nothing")


@_check(
    "deterministic",
    "The same question about the same profile gets the same answer, whatever was asked in between.",
    "Seed what is random from the profile and the query, and keep no state that a search changes.",
)
def _deterministic(retriever: Retriever) -> None:
    profile, other = person("same-twice"), person("in-between")
    for query in queries(profile):
        first = ask(retriever, profile, query)
        ask(retriever, other, query)
        same((profile, query), "first", first, "then", ask(retriever, profile, query))


@_check("best first", "Hits come with the highest score first.", "Sort by descending score.")
def _best_first(retriever: Retriever) -> None:
    for this, hits in searches(retriever, person("best-first")):
        for earlier, later in pairwise(hits):
            if later.score > earlier.score:
                raise ContractViolation(f"{this} put {show(earlier)} before {show(later)}")


@_check(
    "ties",
    "Documents with equal scores come in the order of their ids, compared as strings.",
    "Sort by score and then by id: sorted(hits, key=lambda hit: (-hit.score, hit.document.id)), before you cut at k.",
)
def _ties(retriever: Retriever) -> None:
    twice = repeated(person("ties", 6))
    texts = dict.fromkeys(document.text for document in twice.documents)
    for query in (*queries(twice), *texts):
        hits = ask(retriever, twice, query)
        _in_order_of_ids(call(twice, query), pairwise(hits))
        _in_order_of_ids(call(twice, query, 1), zip(ask(retriever, twice, query, 1), hits[:1], strict=False))


def _in_order_of_ids(this: str, pairs: Iterable[tuple[Hit, Hit]]) -> None:
    for one, other in pairs:
        if one.score == other.score and one.document.id > other.document.id:
            raise ContractViolation(f"{this} preferred {show(one)} to {show(other)}, which has the lesser id")


@_check(
    "finite scores",
    "Every score is a finite number.",
    "Look for a division by zero or the log of zero; return float(score), not a tensor or an array.",
)
def _finite_scores(retriever: Retriever) -> None:
    for this, hits in searches(retriever, person("finite")):
        for hit in hits:
            if not isinstance(hit.score, int | float) or not math.isfinite(hit.score):
                raise ContractViolation(
                    f"{this} scored {hit.document.id} with {hit.score!r} ({type(hit.score).__name__})"
                )


@_check("no document twice", "No document is found twice.", "Remove duplicates before you cut the list at k.")
def _no_document_twice(retriever: Retriever) -> None:
    for this, hits in searches(retriever, person("twice")):
        ids = [hit.document.id for hit in hits]
        if len(set(ids)) < len(ids):
            raise ContractViolation(f"{this} returned {ids}")


@_check("at most k", "A search for k documents returns at most k.", "Cut the list: hits[:k].")
def _at_most_k(retriever: Retriever) -> None:
    profile = person("at-most")
    for k in (1, 3, K):
        for query in queries(profile):
            if len(hits := ask(retriever, profile, query, k)) > k:
                raise ContractViolation(f"{call(profile, query, k)} returned {len(hits)} hits")


@_check(
    "k beyond the profile",
    "Asking for more documents than the user has is no error, and pads nothing.",
    "Use min(k, len(profile)) where your index insists on k results.",
)
def _k_beyond_the_profile(retriever: Retriever) -> None:
    profile = person("small", 4)
    for k in (len(profile) + 1, 1000):
        for query in queries(profile):
            if len(hits := ask(retriever, profile, query, k)) > len(profile):
                raise ContractViolation(f"{call(profile, query, k)} returned {len(hits)} hits")


@_check("empty profile", "A user without documents gets no hits and no error.", "Return [] for an empty profile.")
def _empty_profile(retriever: Retriever) -> None:
    nothing_found(retriever, Profile("newcomer", ()), "tea garden")


@_check("empty query", "A query of nothing or white space gets no hits and no error.", "Return [] for a blank query.")
def _empty_query(retriever: Retriever) -> None:
    for query in ("", " \n\t"):
        nothing_found(retriever, person("silent"), query)


def _any_string(strange: tuple[str, ...], retriever: Retriever) -> None:
    for query in strange:
        ask(retriever, person("strange"), query)


CHECKS.extend(
    Check(
        f"{kind} queries",
        f"A policy may write {what}: that is a query, not an error.",
        "Treat the query as plain text, never as syntax, and clean or cut what your tools refuse.",
        partial(_any_string, strange),
    )
    for kind, (what, strange) in STRANGE_QUERIES.items()
)


@_check(
    "odd documents",
    "Empty, huge, non-Latin and ill-formed documents can be in a profile.",
    "Clean or cut the text before you hand it to tools that refuse it.",
)
def _odd_documents(retriever: Retriever) -> None:
    for query in ("tea", "half a pair"):
        ask(retriever, oddity(), query)


@_check(
    "batch equals single",
    "search_many gives what search gives for each request, in the order of the requests.",
    "Inherit BaseRetriever, or see that your batch keeps its order and mixes no request with another.",
)
def _batch_equals_single(retriever: Retriever) -> None:
    people = [person("batch-ann"), person("batch-bo"), Profile("batch-none", ())]
    texts = [*queries(people[0]), "", *queries(people[1])]
    requests = [(p, text) for text in texts for p in people if steady(retriever, p, text)]
    for request, hits in zip(requests, ask_many(retriever, requests), strict=True):
        same(request, "search", ask(retriever, *request), "search_many", hits)
    ask_many(retriever, [])


@_check(
    "threads",
    f"{THREADS} threads that search at once get what one thread gets.",
    "Keep nothing of one search on self, and put a lock around what is shared.",
)
def _threads(retriever: Retriever) -> None:
    people = [person(f"thread-{place}") for place in range(4)]
    requests = [(profile, query) for profile in people for query in queries(profile)]

    def search_all(thread: int) -> dict[tuple[Profile, str], list[Hit]]:
        """Each thread begins somewhere else, so that different users are searched at the same time."""
        return {request: ask(retriever, *request) for request in (*requests[thread:], *requests[:thread])}

    answers = at_once(search_all)
    for request in (request for request in requests if steady(retriever, *request)):
        alone = ask(retriever, *request)
        for answer in answers:
            same(request, "alone", alone, "among threads", answer[request])
