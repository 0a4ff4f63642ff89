"""Made-up profiles and queries for the retriever kit, and its assertions."""

import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import TypeVar

from ..envs.question import Document, Profile
from ..envs.retrieval.retriever import Hit, Retriever
from .kit import ContractViolation, attempt

K = 5
THREADS = 8
_PATIENCE = 60.0  # seconds after which a thread counts as stuck
_TOLERANCE = 1e-5  # how much a model's scores may depend on the rest of the batch
T = TypeVar("T")

_WORDS = (
    *("garden", "tea", "bicycle", "river", "soup", "chess", "violin", "winter", "market", "lamp", "novel", "train"),
    *("bakery", "forest", "camera", "kitchen", "letter", "harbour", "piano", "museum", "sweater", "pottery", "quilt"),
)
_PHRASES = ("I spent the evening with {}", "my neighbour asked me about {}", "never again {}", "thinking of {} today")

STRANGE_QUERIES = {
    "non-Latin": (
        "any script",
        ("我的狗不能吃鸡肉", "ما الذي أطبخه يوم الاثنين", "Тёплый чай", "मेरा बगीचा", "cafe\u0301", "🧑‍🍳🍵"),
    ),
    "control character": (
        "control characters",
        ("\x00", "tea\x00garden", "\x1b[31mtea\x07\r\n", "\u202etea\u200b\ufeff\x7f"),
    ),
    "lone surrogate": ("a lone surrogate, half of a character", ("\ud83d", "tea \udfff garden")),
    "operator": (
        "what looks like search syntax",
        ('"tea', "tea AND (garden OR", "[* TO *] title:tea~2^5 +a -b !c", "tea* \\", "%' OR 1=1 --"),
    ),
    "huge": ("100,000 characters", ("tea garden " * 9_091, "x" * 100_000)),
}


def person(user: str, documents: int = 12, *, ids: str = "") -> Profile:
    """A profile, the same for the same name; each document has two words of its own."""
    rng = random.Random(user)
    return Profile(
        user, tuple(Document(_id(ids or user, place), _sentence(rng, user, place)) for place in range(documents))
    )


def queries(profile: Profile) -> list[str]:
    """A word, two words and a whole document of the profile."""
    some = profile.documents[len(profile) // 2].text
    return [_WORDS[len(profile.user_id) % len(_WORDS)], " ".join(some.split()[-2:]), some]


def copy_for(profile: Profile, user: str) -> Profile:
    """Another user with the same texts under other ids."""
    return Profile(user, tuple(replace(d, id=_id(user, place)) for place, d in enumerate(profile.documents)))


def with_duplicates(profile: Profile) -> Profile:
    """The same user with every document twice."""
    documents = enumerate((*profile.documents, *profile.documents))
    return Profile(profile.user_id, tuple(replace(d, id=_id(profile.user_id, place)) for place, d in documents))


def odd_profile() -> Profile:
    """Empty, huge, non-Latin and ill-formed documents, as real data sets contain."""
    texts = ("", " \n", "tea " * 25_000, "tea\x00\x1b[0m\u202e", "half a pair \ud83d of tea", "茶 🍵 चाय شاي", "tea")
    return Profile("odd", tuple(Document(_id("odd", place), text) for place, text in enumerate(texts)))


def _id(user: str, place: int) -> str:
    """Ids whose order, as strings or as numbers, is not that of the documents nor its reverse."""
    return f"{user}-{(place * 617 + 311) % 1000}"


def _sentence(rng: random.Random, user: str, place: int) -> str:
    words = rng.sample(_WORDS, rng.randint(3, 7))
    own = [f"{syllable}{place}{sum(map(ord, user)) % 97}" for syllable in ("zu", "ka")]
    return f"{rng.choice(_PHRASES).format(' and '.join(words))} {' '.join(own)}"


def ask(retriever: Retriever, profile: Profile, query: str, k: int = K) -> list[Hit]:
    """One search; any failure is a violation."""
    this = describe_search(profile, query, k)
    return _hits(this, attempt(partial(retriever.search, profile, query, k), this))


def ask_many(retriever: Retriever, requests: list[tuple[Profile, str]]) -> list[list[Hit]]:
    this = f"search_many of {len(requests)} requests"
    batch = attempt(lambda: list(retriever.search_many(requests, K)), this)
    if len(batch) != len(requests):
        raise ContractViolation(f"{this} returned {len(batch)} lists")
    return [_hits(f"{this}, entry {place},", hits) for place, hits in enumerate(batch)]


def searches(retriever: Retriever, profile: Profile) -> Iterator[tuple[str, list[Hit]]]:
    for query in queries(profile):
        yield describe_search(profile, query), ask(retriever, profile, query)


def is_stable(retriever: Retriever, profile: Profile, query: str) -> bool:
    """Whether a search works and is deterministic; if not, another check reports it."""
    try:
        return _equal(ask(retriever, profile, query), ask(retriever, profile, query))
    except ContractViolation:
        return False


def assert_owned(profile: Profile, query: str, hits: list[Hit]) -> None:
    for hit in hits:
        if hit.document not in profile.documents:
            raise ContractViolation(
                f"{describe_search(profile, query)} returned {describe_hit(hit)}, which {profile.user_id!r} never wrote"
            )


def assert_no_hits(retriever: Retriever, profile: Profile, query: str) -> None:
    if hits := ask(retriever, profile, query):
        raise ContractViolation(
            f"{describe_search(profile, query)} returned {len(hits)} hits, first {describe_hit(hits[0])}"
        )


def assert_not_stale(retriever: Retriever, profile: Profile) -> None:
    """A stale index finds the same texts for a new user, but not for this one."""
    missed = _missed(retriever, profile)
    if missed and not _missed(retriever, copy_for(profile, f"{profile.user_id}-new")):
        raise ContractViolation(
            f"{describe_search(profile, missed.text)} does not find the document with that text first, though it does "
            "for a new user who wrote the same: the answer comes from an index of other documents"
        )


def assert_same(request: tuple[Profile, str], one: str, hits: list[Hit], other: str, others: list[Hit]) -> None:
    """Equal scores, and equal order except among nearly equal scores."""
    if not _equal(hits, others):
        raise ContractViolation(f"{describe_search(*request)}: {one} {_shown(hits)}; {other} {_shown(others)}")


def in_threads(work: Callable[[int], T]) -> list[T]:
    """The result of `work(number)` in each of several threads, started at the same moment."""
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


def describe_search(profile: Profile, query: str, k: int = K) -> str:
    return f"search({profile.user_id!r} with {len(profile)} documents, {_short(repr(query))}, k={k})"


def describe_hit(hit: Hit) -> str:
    return f"{hit.document.id} {_short(repr(hit.document.text))} ({hit.score!r})"


def _missed(retriever: Retriever, profile: Profile) -> Document | None:
    """The first document that is not the top hit for its own text."""
    for document in profile.documents[:K]:
        if [hit.document for hit in ask(retriever, profile, document.text, 1)] != [document]:
            return document
    return None


def _hits(this: str, hits: object) -> list[Hit]:
    """Plain `(document, score)` pairs count as hits, too."""
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
    both_nan = math.isnan(one) and math.isnan(other)  # reported by another check
    return both_nan or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _shown(hits: list[Hit]) -> str:
    return "[" + ", ".join(f"{hit.document.id} {hit.score!r}" for hit in hits) + "]"


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
