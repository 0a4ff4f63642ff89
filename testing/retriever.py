"""Conformance kit for retrievers.

Each check uses profiles of its own, so that a retriever with one fault fails one check.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise

from ..envs.question import Profile
from ..envs.retrieval.retriever import Hit, Retriever
from .kit import Check, ContractViolation, register
from .retriever_support import (
    STRANGE_QUERIES,
    THREADS,
    K,
    ask,
    ask_many,
    assert_no_hits,
    assert_not_stale,
    assert_owned,
    assert_same,
    describe_hit,
    describe_search,
    in_threads,
    is_stable,
    odd_profile,
    person,
    queries,
    searches,
    with_duplicates,
)

CHECKS: list[Check] = []
_check = partial(register, CHECKS)


@_check(
    "own documents",
    "Every hit is a document of the given profile, even where another user has the same ids or texts.",
    "Keep what you compute for a profile under profile.digest, never under document ids or texts.",
)
def _own_documents(retriever: Retriever) -> None:
    ann = person("own-ann")
    same_ids = person("own-bo", ids="own-ann")
    same_texts = Profile("own-cy", tuple(replace(document, date="2001-02-03") for document in ann.documents))
    for profile in (ann, same_ids, same_texts, ann):
        for query in [*queries(ann), *queries(same_ids)]:
            assert_owned(profile, query, ask(retriever, profile, query))
    assert_not_stale(retriever, same_ids)


@_check(
    "changed profile",
    "When a user's documents change, the next search sees the new ones and no old one.",
    "Keep what you compute under profile.digest: it changes with the documents; profile.user_id does not.",
)
def _changed_profile(retriever: Retriever) -> None:
    before, after = person("changing"), replace(person("changed"), user_id="changing")
    for profile in (before, after, before):
        for query in [*queries(before), *queries(after)]:
            assert_owned(profile, query, ask(retriever, profile, query))
    assert_not_stale(retriever, after)


@_check(
    "finds something",
    "A query copied from a document finds at least one document.",
    "Check that queries reach your index, normalised as documents are.",
)
def _finds_something(retriever: Retriever) -> None:
    profile = person("finds")
    for document in profile.documents[:K]:
        if not ask(retriever, profile, document.text):
            raise ContractViolation(f"{describe_search(profile, document.text)} found nothing")


@_check(
    "deterministic",
    "The same search gives the same hits, whatever was searched in between.",
    "Seed randomness from the profile and the query, and keep no state that a search changes.",
)
def _deterministic(retriever: Retriever) -> None:
    profile, other = person("same-twice"), person("in-between")
    for query in queries(profile):
        first = ask(retriever, profile, query)
        ask(retriever, other, query)
        assert_same((profile, query), "first", first, "then", ask(retriever, profile, query))


@_check("best first", "Hits come with the highest score first.", "Sort by descending score.")
def _best_first(retriever: Retriever) -> None:
    for this, hits in searches(retriever, person("best-first")):
        for earlier, later in pairwise(hits):
            if later.score > earlier.score:
                raise ContractViolation(f"{this} put {describe_hit(earlier)} before {describe_hit(later)}")


@_check(
    "ties",
    "Documents with equal scores come in the order of their ids, compared as strings.",
    "Sort by score and then by id: sorted(hits, key=lambda hit: (-hit.score, hit.document.id)), before you cut at k.",
)
def _ties(retriever: Retriever) -> None:
    twice = with_duplicates(person("ties", 6))
    texts = dict.fromkeys(document.text for document in twice.documents)
    for query in (*queries(twice), *texts):
        hits = ask(retriever, twice, query)
        _in_order_of_ids(describe_search(twice, query), pairwise(hits))
        _in_order_of_ids(describe_search(twice, query, 1), zip(ask(retriever, twice, query, 1), hits[:1], strict=False))


def _in_order_of_ids(this: str, pairs: Iterable[tuple[Hit, Hit]]) -> None:
    for one, other in pairs:
        if one.score == other.score and one.document.id > other.document.id:
            raise ContractViolation(
                f"{this} preferred {describe_hit(one)} to {describe_hit(other)}, which has the lesser id"
            )


@_check(
    "finite scores",
    "Every score is a finite number.",
    "Check for a division by zero or the log of zero; return float(score), not a tensor or an array.",
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
                raise ContractViolation(f"{describe_search(profile, query, k)} returned {len(hits)} hits")


@_check(
    "k beyond the profile",
    "A k larger than the profile is no error, and adds no padding.",
    "Use min(k, len(profile)) where your index insists on k results.",
)
def _k_beyond_the_profile(retriever: Retriever) -> None:
    profile = person("small", 4)
    for k in (len(profile) + 1, 1000):
        for query in queries(profile):
            if len(hits := ask(retriever, profile, query, k)) > len(profile):
                raise ContractViolation(f"{describe_search(profile, query, k)} returned {len(hits)} hits")


@_check("empty profile", "A user without documents gets no hits and no error.", "Return [] for an empty profile.")
def _empty_profile(retriever: Retriever) -> None:
    assert_no_hits(retriever, Profile("newcomer", ()), "tea garden")


@_check("empty query", "An empty or blank query gets no hits and no error.", "Return [] for a blank query.")
def _empty_query(retriever: Retriever) -> None:
    for query in ("", " \n\t"):
        assert_no_hits(retriever, person("silent"), query)


def _any_string(strange: tuple[str, ...], retriever: Retriever) -> None:
    for query in strange:
        ask(retriever, person("strange"), query)


CHECKS.extend(
    Check(
        f"{kind} queries",
        f"A query may be {what}; it is no error.",
        "Treat the query as plain text, never as syntax; clean or cut what your tools reject.",
        partial(_any_string, strange),
    )
    for kind, (what, strange) in STRANGE_QUERIES.items()
)


@_check(
    "odd documents",
    "A profile may hold empty, huge, non-Latin and ill-formed documents.",
    "Clean or cut text that your tools reject.",
)
def _odd_documents(retriever: Retriever) -> None:
    for query in ("tea", "half a pair"):
        ask(retriever, odd_profile(), query)


@_check(
    "batch equals single",
    "search_many gives what search gives for each request, in order.",
    "Inherit BaseRetriever, or keep the order and the requests of a batch apart.",
)
def _batch_equals_single(retriever: Retriever) -> None:
    people = [person("batch-ann"), person("batch-bo"), Profile("batch-none", ())]
    texts = [*queries(people[0]), "", *queries(people[1])]
    requests = [(p, text) for text in texts for p in people if is_stable(retriever, p, text)]
    for request, hits in zip(requests, ask_many(retriever, requests), strict=True):
        assert_same(request, "search", ask(retriever, *request), "search_many", hits)
    ask_many(retriever, [])


@_check(
    "threads",
    f"{THREADS} threads that search at once get the same hits as one thread.",
    "Keep no state of a search on self, and lock what is shared.",
)
def _threads(retriever: Retriever) -> None:
    people = [person(f"thread-{place}") for place in range(4)]
    requests = [(profile, query) for profile in people for query in queries(profile)]

    def search_all(thread: int) -> dict[tuple[Profile, str], list[Hit]]:
        """Each thread starts at another request, so that different users are searched at the same time."""
        return {request: ask(retriever, *request) for request in (*requests[thread:], *requests[:thread])}

    answers = in_threads(search_all)
    for request in (request for request in requests if is_stable(retriever, *request)):
        alone = ask(retriever, *request)
        for answer in answers:
            assert_same(request, "alone", alone, "among threads", answer[request])
